"""A head trained together with the encoder's adapter: runs, resume, export, what became of prompts."""

import json

import numpy as np
import pytest
import torch
from peft import PeftModel

import samtune
from samtune.data.datamodule import SamDataModule
from samtune.data.settings import DataSettings
from samtune.errors import UserError
from samtune.evaluation.choice import Candidate
from samtune.evaluation.statistics import Difference
from samtune.inference.instances import InstanceFinder
from samtune.models.loading import load_model
from samtune.tasks.comparing_prompts import _without_ignored, sentence_of
from tests.conftest import draw_discs
from tests.integration.test_heads_run import DATA, FAST

TOGETHER = {
    "head": "instances", "head_encoder": "lora", "lora": {"rank": 2},
    # a rate that changes the answers within three steps, and does not know how long it goes on
    "optim": {"lr": 0.02, "final_lr": 1.0}, "loss": {"general": 0.5},
}  # fmt: skip


def train(folder, run, **more):
    return samtune.fit(
        run=run, **{**FAST, "model": TOGETHER, "data": {"path": str(folder), **DATA}, **more}
    )


@pytest.fixture(scope="module")
def together(discs, tmp_path_factory):
    return train(discs, tmp_path_factory.mktemp("together") / "run")


def embeddings(sam):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return sam.encode(torch.rand(1, 3, 64, 64, generator=generator)).main


def test_the_head_lies_beside_an_adapter_that_was_trained(together):
    assert (together.path / "adapter/adapter_model.safetensors").is_file()
    assert (together.path / "adapter/heads/instances/head.safetensors").is_file()
    sam = load_model(together.path)
    assert set(sam.heads) == {"instances"}
    tuned = embeddings(sam)
    with sam.base_weights():
        assert torch.equal(embeddings(sam), embeddings(load_model("nano", image_size=64)))
    assert not torch.equal(tuned, embeddings(load_model("nano", image_size=64)))


def test_fit_tells_what_became_of_prompts(together):
    choice = json.loads((together.path / "choice.json").read_text())
    (its,) = choice["candidates"]
    assert set(its["domain"]) == {"box", "point", "clicks_3"}
    assert set(its["general"]) == {"box", "point"}
    assert any(each["mean"] != 0 for each in its["domain"].values())
    is_lost = choice["sentence"].startswith("PROMPTS WERE LOST")
    assert is_lost is not its["is_allowed"]
    assert load_model(together.path).is_better in (True, False)


def test_plain_peft_loads_the_export_and_the_head_goes_along(together, tmp_path):
    samtune.export(together, to="adapter", out=tmp_path / "out")
    sam = load_model(together.path)
    network = type(sam.core).from_pretrained(tmp_path / "out/base")
    model = PeftModel.from_pretrained(network, tmp_path / "out").eval()
    trained = sam.network.state_dict()
    adapter = [name for name in trained if "lora_" in name]
    assert adapter
    assert all(torch.equal(model.state_dict()[name], trained[name]) for name in adapter)
    image, _ = draw_discs((64, 64), 3, seed=9)
    expected = InstanceFinder(sam).maps(image)
    np.testing.assert_allclose(
        InstanceFinder(load_model(tmp_path / "out")).maps(image), expected, atol=1e-4
    )


@pytest.mark.slow
def test_a_run_that_goes_on_ends_as_one_that_never_stopped(discs, tmp_path):
    def go(name, epochs):
        model = TOGETHER | {"lora": {"rank": 2, "dropout": 0.3}}
        trainer = {"max_epochs": epochs, "accelerator": "cpu"}
        data = {"path": str(discs), **DATA, "windows": 1, "augment": "microscopy"}
        return train(discs, tmp_path / name, model=model, trainer=trainer, data=data, choose=False)

    def weights(run):
        return torch.load(run.path / "checkpoints/last.ckpt", weights_only=True)["state_dict"]

    go("parted", 1)
    whole, resumed = go("whole", 2), samtune.resume(tmp_path / "parted", trainer={"max_epochs": 2})
    assert any("lora_" in name for name in weights(whole))
    assert any(".heads." in name for name in weights(whole))
    assert weights(whole).keys() == weights(resumed).keys()
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], value)
    # what is kept is the mean, which goes on too
    one, other = (load_model(run.path).state_dict() for run in (whole, resumed))
    for name, value in one.items():
        torch.testing.assert_close(other[name], value)


@pytest.mark.slow
def test_other_heads_of_the_base_are_told_to_be_left_behind(discs, together, tmp_path, caplog):
    semantic = TOGETHER | {"head": "semantic"}
    run = train(
        discs, tmp_path / "next", base=str(together.path), image_size=0, model=semantic,
        choose=False,
    )  # fmt: skip
    assert "(instances) read its encoder as it is" in caplog.text
    assert set(load_model(run.path).heads) == {"semantic"}


def test_a_moment_of_the_training_is_no_model(together):
    with pytest.raises(UserError, match="give the folder of its run"):
        load_model(together.path / "checkpoints/last.ckpt")


def test_a_start_is_refused_where_a_head_would_ignore_it(discs, together, tmp_path):
    with pytest.raises(UserError, match="give the run as base"):
        train(discs, tmp_path / "run", start=str(together.path))


def test_what_is_ignored_is_no_object_that_prompts_are_asked_for(tmp_path):
    from PIL import Image

    for kind in ("images", "labels"):
        (tmp_path / "train" / kind).mkdir(parents=True)
    labels = np.zeros((64, 64), np.uint8)
    labels[5:20, 5:20], labels[40:, 40:] = 1, 255
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(tmp_path / "train/images/0.png")
    Image.fromarray(labels).save(tmp_path / "train/labels/0.png")
    settings = DataSettings(path=str(tmp_path), labels="instances", ignore_values=[255])
    data = SamDataModule(settings, is_for_head=True)
    assert set(np.unique(data.whole_source("train").read(0).labels)) == {0, 1, 2}
    found = _without_ignored(data).whole_source("train").read(0).labels
    assert set(np.unique(found)) == {0, 1}


def candidate(point, general):
    changes = {
        name: Difference(value, None, None, None, 1, 0, 0, False)
        for name, value in (("box", 0.01), ("point", point))
    }
    return Candidate("averaged", 1.0, changes, {"box": general}, dict.fromkeys(changes, "equal"))


@pytest.mark.parametrize(
    ("point", "general", "is_lost"),
    [(0.0, 0.0, False), (-0.05, 0.0, True), (0.02, -0.04, True)],
)
def test_prompts_that_were_lost_are_told(point, general, is_lost):
    sentence = sentence_of(candidate(point, general), 12)
    assert sentence.startswith("PROMPTS WERE LOST") is is_lost
    assert f"point {point:+.3f}" in sentence
