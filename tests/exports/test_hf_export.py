"""The merged transformers folder loads with transformers alone."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers.utils import is_torchvision_available

from samtune.errors import UserError
from samtune.exports.hf import export_hf
from samtune.exports.same_answers import largest_difference, sample_answers
from samtune.inference.predictor import SamPredictor
from samtune.models.backend import BaseIdentity, Sam
from samtune.models.families.table import FAMILIES
from samtune.models.loading import load_model
from samtune.models.processor import PROCESSOR_FILE, processor_settings
from samtune.models.strength import TunedScale
from samtune.reading import Reading
from tests.models.families.tiny import build_member

PADDED = ("sam", "sam_hq", "mobile_sam")


def test_transformers_alone_gives_the_same_logits(make_tuned, family_name, settings, out):
    sam = make_tuned(family_name)
    expected, network = sample_answers(sam), type(sam.core)
    exported = export_hf(sam, out, settings)
    plain = network.from_pretrained(out)
    found = sample_answers(Sam(plain, BaseIdentity("", "", 64, "")).eval())
    assert largest_difference(found, expected) < 1e-4
    assert largest_difference(found, sample_answers(sam)) < 1e-5
    told = " ".join(exported.notes)
    assert ("transformers alone has no such network" in told) == (family_name == "mobile_sam")
    assert ("rocessor needs torchvision" in told) == (family_name in ("sam2", "sam3", "edgetam"))
    assert ("pipeline needs torchvision" in told) == (family_name != "mobile_sam")


def test_samtune_reads_images_as_the_run_did(make_tuned, settings, out):
    sam = make_tuned()
    place = str(Path(sam.base.name).parent)
    export_hf(sam, out, settings)
    assert load_model(out).reading == Reading(stretch="auto")
    assert not load_model(out).is_adapted
    assert place not in (out / "samtune.json").read_text()
    assert json.loads((out / "samtune.json").read_text())["base"]["name"] == "base_sam"


def test_a_chosen_scale_is_merged(make_tuned, settings, out):
    sam, other = make_tuned(), make_tuned()
    TunedScale(sam).settle(0.5)
    export_hf(sam, out, settings)
    TunedScale(other).set(0.5)
    assert largest_difference(sample_answers(load_model(out)), sample_answers(other)) < 1e-4


def test_what_was_trained_is_in_the_weights(make_tuned, settings, out):
    sam = make_tuned()
    with sam.base_weights():
        before = sample_answers(sam)
    export_hf(sam, out, settings)
    assert largest_difference(sample_answers(load_model(out)), before) > 1e-2
    assert not any(torch.isnan(part).any() for part in before)


def run_card(exported, folder, file):
    """What the card's code leaves, for an image of one's own."""
    code = exported.usage.removeprefix("```python").removesuffix("```")
    found = {"folder": folder}
    exec(code.replace("image.png", str(file)), found)  # noqa: S102
    return found


@pytest.fixture
def dark(tmp_path):
    """An image of 16 bit, of which a plain conversion to 8 leaves nothing but white."""
    values = np.random.default_rng(2).integers(300, 4000, (50, 80)).astype(np.uint16)
    values[10:30, 20:60] += 3000
    Image.fromarray(values).save(tmp_path / "dark.tif")
    return tmp_path / "dark.tif"


def test_the_card_s_code_gives_samtune_s_masks(make_tuned, family_name, settings, out, dark):
    sam = make_tuned(family_name)
    exported = export_hf(sam, out, settings)
    if family_name not in PADDED and not is_torchvision_available():
        pytest.skip("transformers' processor needs torchvision")
    found = run_card(exported, out, dark)
    predictor = SamPredictor(sam)
    predictor.set_image(found["image"])
    masks, _, _ = predictor.predict(box=np.array([10, 20, 200, 180]), multimask_output=False)
    assert found["masks"].shape == (1, 1, *masks.shape[1:])
    is_told = any("its masks differ" in note for note in exported.notes)
    assert np.array_equal(found["masks"][0].numpy(), masks) != is_told


def test_a_pipeline_takes_the_folder(settings, out):
    export_hf(load_model("nano"), out, settings)
    find = transformers.pipeline("mask-generation", model=str(out))
    assert find.image_processor.size["longest_edge"] == 256
    if not is_torchvision_available():  # which thins out what the pipeline finds
        return
    picture = np.full((40, 60, 3), 30, np.uint8)
    picture[10:30, 20:40] = 200
    found = find(Image.fromarray(picture), points_per_batch=256, pred_iou_thresh=0.0)["masks"]
    assert found
    assert all(mask.shape == (40, 60) for mask in found)


@pytest.mark.parametrize("name", PADDED)
def test_the_processor_is_checked(make_tuned, settings, out, name):
    exported = export_hf(make_tuned(name), out, settings)
    assert "transformers' processor against samtune's" in exported.checks[-1]
    loaded = getattr(transformers, FAMILIES[name].processor[0]).from_pretrained(out)
    assert type(loaded).__name__ == FAMILIES[name].processor[0]
    assert loaded.target_size == 64


def test_a_processor_that_does_otherwise_is_refused(make_tuned, settings, out, monkeypatch):
    monkeypatch.setattr(
        "samtune.models.processor.processor_settings",
        lambda sam: {**processor_settings(sam), "image_mean": [0.4, 0.4, 0.4]},
    )
    with pytest.raises(UserError, match="the answers differ"):
        export_hf(make_tuned(), out, settings)


def test_sizes_means_and_deviations_are_the_family_s(family_name):
    """Those of transformers' own classes, which not every machine can import, at this input size."""
    found = processor_settings(build_member(family_name))
    if family_name in PADDED:
        assert found["size"] == {"longest_edge": 64}
        assert found["pad_size"] == {"height": 64, "width": 64}
        assert found["mask_size"] == {"longest_edge": 16}
        assert found["mask_pad_size"] == {"height": 16, "width": 16}
    else:
        assert found["size"] == {"height": 64, "width": 64}
        assert found["mask_size"] == {"height": 16, "width": 16}
    half = family_name == "sam3"
    assert found["image_mean"] == ([0.5] * 3 if half else [0.485, 0.456, 0.406])
    assert found["image_std"] == ([0.5] * 3 if half else [0.229, 0.224, 0.225])
    assert (found["processor_class"], found["image_processor_type"]) == FAMILIES[
        family_name
    ].processor


def test_without_torchvision_the_file_is_there_and_the_card_says_so(
    make_tuned, settings, out, monkeypatch
):
    monkeypatch.setattr("samtune.models.processor.is_torchvision_available", lambda: False)
    exported = export_hf(make_tuned("sam2"), out, settings)
    assert json.loads((out / PROCESSOR_FILE).read_text())["processor_class"] == "Sam2Processor"
    assert PROCESSOR_FILE in exported.files
    assert "Sam2Processor needs torchvision" in exported.notes[-1]
    assert "could not be tried" in exported.notes[-1]
