"""Whatever a person has of SAM loads, and what does not fit is refused with its name."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import SamConfig, SamModel

from samtune.errors import UserError
from samtune.models.backend import BaseIdentity, Sam
from samtune.models.loading import (
    load_model,
    load_start,
    sam_model_registry,
    tuned_sha256,
)
from samtune.models.lora import prepare_for_training
from samtune.models.metadata import describe, find_tuned
from samtune.models.official.sam import transformers_to_official
from samtune.models.pretraining.initialise import build_random
from samtune.models.registry import REGISTRY
from samtune.models.saving import save_official, save_transformers, save_tuned
from samtune.models.settings import LoraSettings
from samtune.models.sharpening.network import Sharpener
from samtune.models.weights import read_weights, set_decoder_eps, weights_sha256
from samtune.reading import Reading

READING = Reading((3, 1, 0), "percentile", tile=40)


class Bomb:
    """A pickle of this creates a file when it is loaded by anything that runs code."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def same(found, expected):
    """Equal but for rounding: where the weights lie in memory may change the last digit."""
    return torch.allclose(found, expected, atol=1e-6, rtol=0)


def official_state(sam):
    return transformers_to_official(sam.core.state_dict())


def write_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


@pytest.fixture(scope="module")
def nano_file(tmp_path_factory):
    """An official file of nano's architecture with other weights than nano itself."""
    path = tmp_path_factory.mktemp("nano") / "other.pth"
    network = build_random(REGISTRY["nano"], seed=4)
    save_official(Sam(network, BaseIdentity("nano", "", 256, "")), path)
    return path


@pytest.fixture(scope="module")
def tuned(base_folder, shake):
    """The base of `base_folder` with a shaken adapter; no test may change it."""
    sam = load_model(base_folder)
    prepare_for_training(sam, "lora", LoraSettings(rank=2, encoder="last", last_blocks=2))
    shake(sam)
    sam.reading, sam.with_multimask = READING, False
    return sam.eval()


@pytest.fixture
def run(tuned, tmp_path):
    """A run folder with that adapter."""
    save_tuned(tuned, tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def step_file(tuned, tmp_path):
    """A checkpoint of a run with the same trained weights, as training writes it."""
    path = tmp_path / "last.ckpt"
    torch.save(step_content(tuned), path)
    return path


def step_content(sam):
    settings = LoraSettings(rank=2, encoder="last", last_blocks=2)
    recipe = {"mode": "lora", "lora": asdict(settings), "decoder": "full"}
    state = {f"sam.{n}": p.detach() for n, p in sam.named_parameters() if p.requires_grad}
    return {"samtune": describe(sam) | recipe | {"with_prompt_encoder": False}, "state_dict": state}


class TestRegistryNames:
    def test_nano_needs_nothing_and_is_256_pixels_in_evaluation_mode(self):
        sam = load_model("nano")
        assert sam.image_size == 256
        assert not sam.training
        assert not sam.is_adapted
        assert (sam.base.name, sam.base.checkpoint, sam.base.image_size) == ("nano", "", 256)

    def test_the_same_name_gives_the_same_weights(self):
        assert load_model("nano").base.sha256 == load_model("nano").base.sha256

    def test_a_checkpoint_beside_the_name_gives_its_own_weights(self, nano_file):
        sam = load_model("nano", checkpoint=nano_file)
        expected = build_random(REGISTRY["nano"], seed=4)
        assert sam.base.sha256 == weights_sha256(expected)
        assert sam.base.checkpoint == str(nano_file)
        assert not sam.base.is_random

    def test_segment_anything_s_registry_takes_a_checkpoint(self, nano_file):
        sam = sam_model_registry["nano"](checkpoint=nano_file)
        assert sam.base.sha256 == load_model("nano", checkpoint=nano_file).base.sha256

    def test_segment_anything_s_registry_has_every_model_and_a_default(self):
        assert sam_model_registry.keys() == REGISTRY.keys() | {"default"}
        assert sam_model_registry["default"] is sam_model_registry["vit_h"]

    def test_a_smaller_network_under_the_name_vit_b_is_refused(self, nano_file):
        with pytest.raises(UserError, match=r"not a vit_b: .*hidden_size 192 instead of 768"):
            load_model("vit_b", checkpoint=nano_file)

    def test_a_missing_checkpoint_is_named(self, tmp_path):
        with pytest.raises(UserError, match=r"no checkpoint .*gone\.pth"):
            load_model("vit_b", checkpoint=tmp_path / "gone.pth")

    def test_a_checkpoint_does_not_go_with_a_path(self, official_file):
        with pytest.raises(UserError, match="goes with a registry name"):
            load_model(official_file, checkpoint=official_file)

    def test_a_checkpoint_does_not_go_with_a_hub_id_either(self, official_file):
        with pytest.raises(UserError, match="goes with a registry name"):
            load_model("somebody/something", checkpoint=official_file)


class TestOfficialFiles:
    @pytest.mark.parametrize("wrapper", ["", "model", "state_dict"])
    def test_a_file_of_any_name_loads_also_inside_a_training_checkpoint(
        self, base, answer, tmp_path, wrapper
    ):
        state = official_state(base)
        content = {wrapper: state, "optimizer": {}, "epoch": 3} if wrapper else state
        torch.save(content, tmp_path / "whatever_name.pt")
        sam = load_model(tmp_path / "whatever_name.pt")
        assert same(answer(sam), answer(base))

    def test_the_path_may_be_text(self, official_file):
        assert load_model(str(official_file)).base.name == str(official_file)

    def test_safetensors_load_too(self, base, answer, tmp_path):
        state = {key: value.clone() for key, value in official_state(base).items()}
        save_file(state, tmp_path / "sam.safetensors")
        assert same(answer(load_model(tmp_path / "sam.safetensors")), answer(base))

    def test_half_precision_becomes_single(self, base, tmp_path):
        state = {key: value.half() for key, value in official_state(base).items()}
        torch.save(state, tmp_path / "half.pth")
        sam = load_model(tmp_path / "half.pth")
        assert {p.dtype for p in sam.parameters()} == {torch.float32}
        expected = base.core.vision_encoder.pos_embed.half().float()
        assert torch.equal(sam.core.vision_encoder.pos_embed, expected)

    def test_transformers_weights_without_a_config_are_refused(self, base, tmp_path):
        torch.save(base.core.state_dict(), tmp_path / "model.bin")
        with pytest.raises(UserError, match=r"no official checkpoint of a SAM.*config\.json"):
            load_model(tmp_path / "model.bin")

    def test_a_missing_tensor_is_named(self, base, tmp_path):
        state = official_state(base)
        del state["mask_decoder.iou_prediction_head.layers.2.bias"]
        torch.save(state, tmp_path / "sam.pth")
        with pytest.raises(UserError, match=r"missing keys .*iou_prediction_head\.proj_out\.bias"):
            load_model(tmp_path / "sam.pth")


class TestDamagedFiles:
    @pytest.mark.parametrize("length", [0, 1, 100, 5_000, 100_000])
    def test_a_truncated_file_is_a_user_s_error(self, official_file, tmp_path, length):
        path = tmp_path / "half.pth"
        path.write_bytes(official_file.read_bytes()[:length])
        with pytest.raises(UserError, match=r"half\.pth cannot be read as weights"):
            load_model(path)

    @pytest.mark.parametrize("length", [5, 300, 2_000, 2_300, 2_310, 2_314, 100_000])
    def test_a_truncated_file_of_the_old_format_is_a_user_s_error(self, base, tmp_path, length):
        buffer = io.BytesIO()
        torch.save(official_state(base), buffer, _use_new_zipfile_serialization=False)
        (tmp_path / "old.pth").write_bytes(buffer.getvalue()[:length])
        with pytest.raises(UserError, match=r"old\.pth cannot be read as weights"):
            load_model(tmp_path / "old.pth")

    @pytest.mark.parametrize(
        "content",
        [
            b"<!doctype html><html>404 not found</html>",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:ec2df6\nsize 375042383\n",
            b"hello world\n",
            b"Access denied.",
            b"0" * 64,
            bytes(range(256)),
        ],
    )
    def test_something_else_than_weights_is_a_user_s_error(self, tmp_path, content):
        (tmp_path / "sam.pth").write_bytes(content)
        with pytest.raises(UserError, match=r"sam\.pth cannot be read as weights"):
            load_model(tmp_path / "sam.pth")

    @pytest.mark.parametrize("content", [b"", b"12345678", b"\xff" * 100])
    def test_damaged_safetensors_are_a_user_s_error(self, tmp_path, content):
        (tmp_path / "sam.safetensors").write_bytes(content)
        with pytest.raises(UserError, match=r"sam\.safetensors cannot be read as weights"):
            load_model(tmp_path / "sam.safetensors")

    @pytest.mark.parametrize("content", [[1, 2], 3, {"epoch": 3}, {"model": {"a": 1}}])
    def test_a_file_without_a_state_dict_is_refused(self, tmp_path, content):
        torch.save(content, tmp_path / "sam.pth")
        with pytest.raises(UserError, match="holds no state dict"):
            load_model(tmp_path / "sam.pth")

    def test_code_in_a_torch_file_is_refused_and_not_run(self, tmp_path):
        torch.save({"weights": Bomb(tmp_path / "trace")}, tmp_path / "bomb.pth")
        with pytest.raises(UserError, match=r"bomb\.pth cannot be read as weights"):
            load_model(tmp_path / "bomb.pth")
        assert not (tmp_path / "trace").exists()

    def test_code_in_a_plain_pickle_is_refused_and_not_run(self, tmp_path):
        (tmp_path / "bomb.pth").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
        with pytest.raises(UserError, match=r"bomb\.pth cannot be read as weights"):
            load_model(tmp_path / "bomb.pth")
        assert not (tmp_path / "trace").exists()

    def test_code_in_a_step_s_checkpoint_is_refused_and_not_run(self, tmp_path):
        content = {"samtune": {}, "state_dict": Bomb(tmp_path / "trace")}
        torch.save(content, tmp_path / "bomb.ckpt")
        with pytest.raises(UserError, match=r"bomb\.ckpt is no checkpoint"):
            load_model(tmp_path / "bomb.ckpt")
        assert not (tmp_path / "trace").exists()

    def test_reading_a_missing_file_is_a_user_s_error(self, tmp_path):
        with pytest.raises(UserError, match=r"no checkpoint .*gone\.pth"):
            read_weights(tmp_path / "gone.pth")


class TestWrongPlaces:
    @pytest.mark.parametrize(
        "source",
        [
            "vit_x",
            "gone.pth",
            "runs/gone.ckpt",
            "gone.safetensors",
            "/no/such/folder",
            "./gone",
            "~/gone",
        ],
    )
    def test_nothing_of_that_name_is_a_user_s_error_that_lists_the_names(self, source):
        with pytest.raises(UserError) as caught:
            load_model(source)
        assert source in str(caught.value)
        assert "vit_b, vit_l, vit_h, medsam, hq_vit_b" in str(caught.value)

    def test_an_empty_folder_says_what_a_model_s_folder_holds(self, tmp_path):
        with pytest.raises(UserError, match=r"adapter/ .*adapter_config\.json .*config\.json"):
            load_model(tmp_path)

    def test_a_hub_id_without_a_network_is_a_user_s_error(self):
        with pytest.raises(UserError, match="somebody/something"):
            load_model("somebody/something")


class TestTransformersFolders:
    def test_a_folder_of_save_pretrained_answers_as_the_original(self, base, base_folder, answer):
        sam = load_model(base_folder)
        assert same(answer(sam), answer(base))
        assert not sam.base.is_random

    def test_its_own_eps_is_kept(self, base, tmp_path):
        network = SamModel(SamConfig.from_dict(base.core.config.to_dict()))
        set_decoder_eps(network, 1e-6)
        network.save_pretrained(tmp_path)
        loaded = load_model(tmp_path).core
        assert loaded.config.mask_decoder_config.layer_norm_eps == 1e-6
        assert loaded.mask_decoder.transformer.layers[0].layer_norm1.eps == 1e-6

    def test_another_model_type_is_named(self, base_folder, tmp_path):
        folder = shutil.copytree(base_folder, tmp_path / "other")
        write_config(folder, model_type="bert")
        with pytest.raises(
            UserError, match=r"describes a 'bert' model; expected a model_type of .*sam2"
        ):
            load_model(folder)

    @pytest.mark.parametrize("content", ['{"model_type": ', "[]", "3", "null"])
    def test_a_damaged_config_is_a_user_s_error(self, base_folder, tmp_path, content):
        folder = shutil.copytree(base_folder, tmp_path / "damaged")
        (folder / "config.json").write_text(content)
        with pytest.raises(UserError, match=r"config\.json"):
            load_model(folder)

    @pytest.mark.parametrize("content", [b"", b"hello world\n", b"\x80\x02" + b"0" * 64])
    def test_weights_that_are_no_weights_are_a_user_s_error(self, base_folder, tmp_path, content):
        (tmp_path / "config.json").write_bytes((base_folder / "config.json").read_bytes())
        (tmp_path / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(UserError, match="cannot be loaded"):
            load_model(tmp_path)

    def test_code_in_the_weights_is_refused_and_not_run(self, base_folder, tmp_path):
        (tmp_path / "config.json").write_bytes((base_folder / "config.json").read_bytes())
        torch.save({"weights": Bomb(tmp_path / "trace")}, tmp_path / "pytorch_model.bin")
        with pytest.raises(UserError, match="cannot be loaded"):
            load_model(tmp_path)
        assert not (tmp_path / "trace").exists()

    def test_missing_weights_are_a_user_s_error(self, base_folder, tmp_path):
        folder = shutil.copytree(base_folder, tmp_path / "empty")
        (folder / "model.safetensors").unlink()
        with pytest.raises(UserError, match="cannot be loaded"):
            load_model(folder)

    def test_truncated_weights_are_a_user_s_error(self, base_folder, tmp_path):
        folder = shutil.copytree(base_folder, tmp_path / "short")
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
        with pytest.raises(UserError, match="cannot be loaded"):
            load_model(folder)

    @pytest.mark.parametrize("change", ["missing", "surplus", "misshapen"])
    def test_weights_that_do_not_fit_are_refused_with_their_names(self, base, tmp_path, change):
        base.core.config.save_pretrained(tmp_path)
        state = {key: value.clone() for key, value in base.core.state_dict().items()}
        name = "mask_decoder.iou_token.weight"
        if change == "missing":
            del state[name]
        elif change == "surplus":
            name = "stray.weight"
            state[name] = torch.zeros(1)
        else:
            state[name] = torch.zeros(2, 32)
        save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
        with pytest.raises(UserError, match=str(tmp_path)) as caught:
            load_model(tmp_path)
        assert change == "misshapen" or name in str(caught.value)

    def test_a_hub_id_loads_from_the_hub_s_cache(
        self, base, base_folder, answer, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        repository = tmp_path / "models--somebody--something"
        shutil.copytree(base_folder, repository / "snapshots" / ("a" * 40))
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("a" * 40)
        assert same(answer(load_model("somebody/something")), answer(base))


class TestTunedModels:
    @pytest.mark.parametrize("place", ["", "adapter"])
    def test_a_run_and_its_adapter_folder_answer_as_what_was_trained(
        self, run, tuned, answer, place
    ):
        sam = load_model(run / place)
        assert sam.is_adapted
        assert not sam.training
        assert same(answer(sam), answer(tuned))

    def test_settings_of_the_training_come_back(self, run):
        sam = load_model(run)
        assert (sam.reading, sam.with_multimask) == (READING, False)

    def test_the_base_is_still_underneath(self, run, base, answer):
        sam = load_model(run)
        with sam.base_weights():
            assert same(answer(sam), answer(base))

    def test_an_adapter_without_our_metadata_loads_on_the_base_that_it_names(
        self, run, tuned, answer
    ):
        (run / "adapter" / "samtune.json").unlink()
        sam = load_model(run)
        assert same(answer(sam), answer(tuned))
        assert (sam.reading, sam.with_multimask) == (Reading(), True)

    def test_an_adapter_that_names_no_base_is_refused(self, run):
        (run / "adapter" / "samtune.json").unlink()
        config = json.loads((run / "adapter" / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = None
        (run / "adapter" / "adapter_config.json").write_text(json.dumps(config))
        with pytest.raises(UserError, match="names no base model"):
            load_model(run)

    def test_a_base_with_other_weights_is_refused(self, run, make_sam, tmp_path):
        other = save_transformers(make_sam(seed=1), tmp_path / "other")
        metadata = json.loads((run / "adapter" / "samtune.json").read_text())
        metadata["base"]["name"] = str(other)
        (run / "adapter" / "samtune.json").write_text(json.dumps(metadata))
        with pytest.raises(UserError, match=r"other weights .*give it the same base"):
            load_model(run)

    def test_a_base_that_is_gone_is_named(self, run):
        metadata = json.loads((run / "adapter" / "samtune.json").read_text())
        metadata["base"]["name"] = "/no/such/base"
        (run / "adapter" / "samtune.json").write_text(json.dumps(metadata))
        with pytest.raises(UserError, match="/no/such/base"):
            load_model(run)

    @pytest.mark.parametrize("length", [0, 100, 5_000])
    def test_a_truncated_adapter_is_a_user_s_error(self, run, length):
        file = run / "adapter" / "adapter_model.safetensors"
        file.write_bytes(file.read_bytes()[:length])
        with pytest.raises(UserError, match=r"adapter.* cannot be loaded"):
            load_model(run)

    def test_metadata_of_format_1_tell_the_same(self, run):
        file = run / "adapter" / "samtune.json"
        metadata = json.loads(file.read_text()) | {"format": 1}
        del metadata["reading"]
        file.write_text(json.dumps(metadata))  # as the first of them were, without a view
        assert load_model(run).reading == Reading()
        view = {"tile": 40, "window": "", "axis": "auto", "with_neighbours": False}
        own = {"stretch": "percentile", "bands": [3, 1, 0], "value_range": None, "view": view}
        file.write_text(json.dumps(metadata | own))
        sam = load_model(run)
        assert (sam.reading, sam.with_multimask) == (READING, False)

    @pytest.mark.parametrize(
        "reading",
        [
            Reading(value_range=(0, 1500), axis="coronal", with_neighbours=True),
            Reading(window="lung", bands=("nir", "red", 0), stretch="auto", tile=512),
        ],
    )
    def test_every_part_of_a_reading_comes_back(self, tuned, tmp_path, monkeypatch, reading):
        monkeypatch.setattr(tuned, "reading", reading)
        save_tuned(tuned, tmp_path)
        assert load_model(tmp_path).reading == reading

    @pytest.mark.parametrize("reading", [{}, {"tile": 40, "unheard_of": 1}])
    def test_metadata_of_a_newer_samtune_are_refused_as_such(self, run, reading):
        file = run / "adapter" / "samtune.json"
        metadata = json.loads(file.read_text()) | {"format": 3, "reading": reading}
        file.write_text(json.dumps(metadata))
        with pytest.raises(UserError, match="written by a newer samtune: upgrade"):
            load_model(run)

    @pytest.mark.parametrize(
        "reading", [{"tile": -1}, {"value_range": [3, 1]}, {"unheard_of": 1}, {"tile": "a"}, [], 3]
    )
    def test_a_reading_that_makes_no_sense_is_a_user_s_error(self, run, reading):
        file = run / "adapter" / "samtune.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"reading": reading}))
        with pytest.raises(UserError, match=r"samtune\.json"):
            load_model(run)

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"base": {}}'])
    def test_damaged_metadata_is_a_user_s_error(self, run, content):
        (run / "adapter" / "samtune.json").write_text(content)
        with pytest.raises(UserError, match=r"samtune\.json"):
            load_model(run)

    def test_a_damaged_adapter_config_is_a_user_s_error(self, run):
        (run / "adapter" / "adapter_config.json").write_text("{")
        with pytest.raises(UserError, match="adapter"):
            load_model(run)

    def test_another_image_size_than_the_trained_one_is_refused(self, run):
        with pytest.raises(UserError, match="trained at image size 64, not 128"):
            load_model(run, image_size=128)

    def test_the_trained_image_size_may_be_said(self, run):
        assert load_model(run, image_size=64).image_size == 64

    def test_an_image_size_for_an_adapter_that_does_not_know_its_own_is_followed(self, run):
        (run / "adapter" / "samtune.json").unlink()
        assert load_model(run, image_size=128).image_size == 128

    def test_the_folder_with_tuned_weights_is_found_from_run_and_adapter(self, run, tmp_path):
        assert find_tuned(run) == find_tuned(run / "adapter") == run / "adapter"
        assert find_tuned(tmp_path) is None

    def test_a_wholly_trained_model_loads_from_its_run(self, base_folder, shake, answer, tmp_path):
        sam = load_model(base_folder)
        prepare_for_training(sam, "full", LoraSettings())
        shake(sam)
        sam.reading = Reading(stretch="auto")
        save_tuned(sam, tmp_path / "run")
        loaded = load_model(tmp_path / "run")
        assert same(answer(loaded), answer(sam))
        assert loaded.base == sam.base
        assert loaded.reading == Reading(stretch="auto")

    def test_a_wholly_trained_nano_keeps_what_sharpens_its_masks(self, tmp_path):
        sam = load_model("nano", image_size=64)
        prepare_for_training(sam, "full", LoraSettings())
        save_tuned(sam, tmp_path / "run")
        save_tuned(load_start(str(tmp_path / "run")), tmp_path / "second")
        for run in ("run", "second"):
            again = load_model(tmp_path / run)
            assert [type(each) for each in again.sharpeners] == [Sharpener]
            assert tuned_sha256(again) == tuned_sha256(sam)


class TestStarts:
    """`load_start`: what is tuned next, a base or the result of an earlier run."""

    def test_a_base_starts_as_it_is(self, base_folder, base, answer):
        sam = load_start(str(base_folder))
        assert same(answer(sam), answer(base))
        assert sam.base == load_model(base_folder).base

    def test_a_registry_name_keeps_its_identity(self):
        assert load_start("nano").base == load_model("nano").base

    def test_a_run_starts_with_its_adapter_merged(self, run, tuned, answer):
        sam = load_start(str(run))
        assert type(sam.network) is SamModel
        assert torch.allclose(answer(sam), answer(tuned), atol=1e-5)

    def test_a_run_is_a_base_of_its_own(self, run, tuned):
        sam = load_start(str(run))
        assert (sam.base.name, sam.base.checkpoint) == (str(run), "")
        assert sam.base.sha256 == load_start(str(run)).base.sha256 != tuned.base.sha256
        assert sam.base.image_size == 64

    def test_what_was_tuned_on_a_run_loads_again_on_it(self, run, shake, answer, tmp_path):
        sam = load_start(str(run))
        before = answer(sam)
        prepare_for_training(sam, "lora", LoraSettings(rank=2), "frozen")
        shake(sam, seed=9)
        save_tuned(sam, tmp_path / "second")
        loaded = load_model(tmp_path / "second")
        assert same(answer(loaded), answer(sam.eval()))
        with loaded.base_weights():
            assert same(answer(loaded), before)

    def test_a_run_that_was_trained_again_is_no_longer_that_base(
        self, run, base_folder, shake, tmp_path
    ):
        sam = load_start(str(run))
        prepare_for_training(sam, "lora", LoraSettings(rank=2), "frozen")
        save_tuned(sam, tmp_path / "second")
        again = load_model(base_folder)
        prepare_for_training(again, "lora", LoraSettings(rank=2), "frozen")
        shake(again, seed=10)
        save_tuned(again, run)
        with pytest.raises(UserError, match="other weights"):
            load_model(tmp_path / "second")

    def test_a_wholly_trained_run_starts_as_it_is(self, base_folder, shake, answer, tmp_path):
        sam = load_model(base_folder)
        prepare_for_training(sam, "full", LoraSettings())
        shake(sam)
        save_tuned(sam, tmp_path)
        start = load_start(str(tmp_path))
        assert same(answer(start), answer(sam))
        assert start.base.sha256 == weights_sha256(sam.core)


class TestSteps:
    def test_a_step_s_checkpoint_answers_as_what_was_trained(self, step_file, tuned, answer):
        sam = load_model(step_file)
        assert same(answer(sam), answer(tuned))
        assert (sam.reading, sam.with_multimask) == (READING, False)

    @pytest.mark.parametrize("length", [0, 50, 3_000])
    def test_a_truncated_checkpoint_is_a_user_s_error(self, step_file, length):
        step_file.write_bytes(step_file.read_bytes()[:length])
        with pytest.raises(UserError, match=r"last\.ckpt"):
            load_model(step_file)

    @pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], torch.zeros(2)])
    def test_another_tool_s_checkpoint_is_a_user_s_error(self, tmp_path, content):
        torch.save(content, tmp_path / "other.ckpt")
        with pytest.raises(UserError, match=r"other\.ckpt is no checkpoint of samtune"):
            load_model(tmp_path / "other.ckpt")

    @pytest.mark.parametrize("change", ["missing", "surplus", "misshapen"])
    def test_parameters_that_do_not_fit_are_named(self, tuned, tmp_path, change):
        content = step_content(tuned)
        name = next(key for key in content["state_dict"] if "lora_A" in key)
        if change == "missing":
            del content["state_dict"][name]
        elif change == "surplus":
            name = "sam.stray"
            content["state_dict"][name] = torch.zeros(1)
        else:
            content["state_dict"][name] = torch.zeros(3, 3)
        torch.save(content, tmp_path / "step.ckpt")
        with pytest.raises(UserError) as caught:
            load_model(tmp_path / "step.ckpt")
        assert f"1 parameters differ, such as {name}" in str(caught.value)

    def test_another_base_than_the_trained_one_is_refused(self, tuned, make_sam, tmp_path):
        content = step_content(tuned)
        content["samtune"]["base"]["name"] = str(
            save_transformers(make_sam(seed=1), tmp_path / "other")
        )
        torch.save(content, tmp_path / "step.ckpt")
        with pytest.raises(UserError, match="other weights"):
            load_model(tmp_path / "step.ckpt")

    def test_another_image_size_than_the_trained_one_is_refused(self, step_file):
        with pytest.raises(UserError, match="trained at image size 64, not 128"):
            load_model(step_file, image_size=128)


class TestImageSize:
    @pytest.mark.parametrize("size", [32, 64, 96, 160])
    def test_outputs_have_the_shapes_of_the_new_size(self, base_folder, size):
        sam = load_model(base_folder, image_size=size)
        grid = size // 16
        assert (sam.image_size, sam.mask_side, sam.base.image_size) == (size, 4 * grid, size)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(1, 3, size, size, generator=generator)
        with torch.no_grad():
            found = sam.core(pixels, input_boxes=torch.tensor([[[1.0, 1.0, 20.0, 20.0]]]))
            assert sam.encode(pixels).main.shape == (1, 32, grid, grid)
        assert found.pred_masks.shape == (1, 1, 3, 4 * grid, 4 * grid)
        assert found.pred_masks.isfinite().all()

    def test_the_native_size_changes_nothing(self, base_folder, base, answer):
        sam = load_model(base_folder, image_size=64)
        assert same(answer(sam), answer(base))
        assert sam.base.sha256 == load_model(base_folder).base.sha256

    def test_windowed_blocks_keep_their_tables_and_global_ones_grow(self, base_folder, base):
        sam = load_model(base_folder, image_size=128)
        for number, layer in enumerate(sam.core.vision_encoder.layers):
            before = base.core.vision_encoder.layers[number].attn.rel_pos_h
            if number in (0, 2):
                assert torch.equal(layer.attn.rel_pos_h, before)
            else:
                assert before.shape == (7, 16)
                assert layer.attn.rel_pos_h.shape == layer.attn.rel_pos_w.shape == (15, 16)

    def test_a_constant_table_stays_constant(self, base_folder, tmp_path):
        network = SamModel.from_pretrained(base_folder)
        with torch.no_grad():
            network.vision_encoder.pos_embed.fill_(0.25)
            network.vision_encoder.layers[1].attn.rel_pos_w.fill_(-0.5)
        network.save_pretrained(tmp_path)
        encoder = load_model(tmp_path, image_size=96).core.vision_encoder
        assert encoder.pos_embed.shape == (1, 6, 6, 48)
        assert torch.allclose(encoder.pos_embed, torch.tensor(0.25), atol=1e-6)
        assert torch.allclose(encoder.layers[1].attn.rel_pos_w, torch.tensor(-0.5), atol=1e-6)

    def test_a_resized_network_survives_saving_as_transformers_folder(self, base_folder, tmp_path):
        sam = load_model(base_folder, image_size=96)
        loaded = load_model(save_transformers(sam, tmp_path / "resized"))
        pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert same(loaded.encode(pixels).main, sam.encode(pixels).main)
        assert (loaded.image_size, loaded.mask_side) == (96, 24)

    @pytest.mark.parametrize("size", [96, 32, 16])
    def test_a_resized_network_survives_saving_as_official_file(self, base_folder, tmp_path, size):
        sam = load_model(base_folder, image_size=size)
        save_official(sam, tmp_path / "resized.pth")
        loaded = load_model(tmp_path / "resized.pth")
        pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            assert same(loaded.encode(pixels).main, sam.encode(pixels).main)

    def test_a_tuned_network_comes_back_at_its_size(self, base_folder, shake, tmp_path):
        sam = load_model(base_folder, image_size=96)
        prepare_for_training(sam, "lora", LoraSettings(rank=2))
        shake(sam)
        save_tuned(sam, tmp_path / "run")
        assert load_model(tmp_path / "run").image_size == 96

    @pytest.mark.parametrize("size", [100, 8, -64])
    def test_a_size_that_is_no_multiple_of_the_patch_is_refused(self, base_folder, size):
        with pytest.raises(
            UserError, match=f"image_size is {size}: .*multiple of 16 for sam models"
        ):
            load_model(base_folder, image_size=size)


class TestHash:
    def test_one_weight_changes_it(self, make_sam):
        sam = make_sam()
        before = weights_sha256(sam.core)
        with torch.no_grad():
            sam.core.mask_decoder.iou_token.weight[0, 0] += 1e-6
        assert weights_sha256(sam.core) != before

    def test_the_same_weights_from_another_source_have_the_same_hash(
        self, base, base_folder, official_file
    ):
        expected = weights_sha256(base.core)
        assert load_model(base_folder).base.sha256 == expected
        assert load_model(official_file).base.sha256 == expected

    @pytest.mark.slow
    def test_a_resized_network_has_the_same_hash_on_every_processor(self, base_folder):
        code = (
            "import sys; from samtune.models.loading import load_model; "
            "print(load_model(sys.argv[1], image_size=96).base.sha256)"
        )
        found = {
            subprocess.run(
                [sys.executable, "-c", code, str(base_folder)],
                env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for capability in ("default", "avx2")
        }
        assert len(found) == 1


def test_an_adapter_that_writes_into_its_base_is_refused(tmp_path):
    """With trained biases, what answers when it is off would be the tuned model."""
    from peft import LoraConfig, get_peft_model

    for bias in ("none", "all"):
        config = LoraConfig(r=2, target_modules=["qkv"], bias=bias, base_model_name_or_path="nano")
        network = get_peft_model(load_model("nano").core, config)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if parameter.requires_grad and name.endswith("bias"):
                    parameter += 0.1
        network.peft_config["default"].base_model_name_or_path = "nano"
        network.save_pretrained(tmp_path / bias)
    assert load_model(tmp_path / "none").is_adapted
    with pytest.raises(UserError, match=r"changes \d+ weights of the base itself"):
        load_model(tmp_path / "all")
