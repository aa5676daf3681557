"""The adapter folder loads with PEFT and transformers alone, and with samtune from anywhere."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from samtune.errors import UserError
from samtune.exports.adapter import class_of, export_adapter, find_hub_id
from samtune.exports.same_answers import largest_difference, sample_answers
from samtune.models.backend import BaseIdentity, Sam
from samtune.models.calibration import Calibration
from samtune.models.loading import load_model, load_start
from samtune.models.lora import merge, prepare_for_training
from samtune.models.mask_thresholds import FittedThresholds, MaskThresholds
from samtune.models.saving import save_tuned
from samtune.models.settings import LoraSettings
from samtune.models.strength import TunedScale
from samtune.reading import Reading


def test_peft_alone_loads_it_to_the_same_logits(make_tuned, family_name, settings, out):
    sam = make_tuned(family_name)
    expected, network = sample_answers(sam), type(sam.core)
    export_adapter(sam, out, settings)
    base = network.from_pretrained(out / "base")
    model = PeftModel.from_pretrained(base, out).eval()
    found = sample_answers(Sam(model, BaseIdentity("", "", 64, "")).eval())
    assert largest_difference(found, expected) < 1e-5


def test_it_goes_anywhere_without_the_first_base(make_tuned, settings, out, tmp_path):
    sam = make_tuned()
    expected, first = sample_answers(sam), Path(sam.base.name)
    sam.calibration = Calibration((0.0, 1.0), (0.1, 0.9), "isotonic", 5)
    sam.thresholds = FittedThresholds(MaskThresholds(0.5, 0.6, 0.7), 16)
    export_adapter(sam, out, settings)
    first.rename(first.parent / "gone")
    moved = out.rename(tmp_path / "elsewhere")
    found = load_model(moved)
    assert largest_difference(sample_answers(found), expected) < 1e-5
    assert found.reading == Reading(stretch="auto")
    assert found.calibration == sam.calibration
    assert found.thresholds == sam.thresholds


def test_no_file_names_a_folder_of_this_machine(make_tuned, settings, out):
    sam = make_tuned()
    place = str(Path(sam.base.name).parent)
    export_adapter(sam, out, settings)
    for path in out.rglob("*.json"):
        assert place not in path.read_text()
    assert json.loads((out / "samtune.json").read_text())["base"]["name"] == "base"


def test_another_base_in_its_place_is_an_error(make_tuned, settings, out):
    sam = make_tuned()
    export_adapter(sam, out, settings)
    merge(sam)
    sam.core.save_pretrained(out / "base")
    with pytest.raises(UserError, match="other weights"):
        load_model(out)


def test_a_tuned_base_is_saved_merged(make_tuned, settings, out, tmp_path):
    save_tuned(make_tuned(), tmp_path / "first")
    sam = load_start(str(tmp_path / "first"))
    prepare_for_training(sam, "decoder", LoraSettings())
    expected = sample_answers(sam.eval())
    export_adapter(sam, out, settings)
    assert largest_difference(sample_answers(load_model(out)), expected) < 1e-5


def test_a_chosen_scale_is_kept(make_tuned, settings, out):
    sam, base = make_tuned(), make_tuned()
    full = sample_answers(sam)
    with base.base_weights():
        plain = sample_answers(base)
    TunedScale(sam).settle(0.0)
    export_adapter(sam, out, settings)
    found = sample_answers(load_model(out))
    assert largest_difference(found, plain) < 1e-5 < largest_difference(found, full)


def test_a_model_without_an_adapter_is_refused(make_tuned, settings, out):
    sam = make_tuned()
    merge(sam)
    with pytest.raises(UserError, match="no adapter"):
        export_adapter(sam, out, settings)


@pytest.mark.parametrize(
    ("name", "checkpoint", "hub_id"),
    [
        ("vit_b", "", "facebook/sam-vit-base"),
        ("vit_b", "/x/sam_vit_b_01ec64.pth", "facebook/sam-vit-base"),
        ("vit_b", "/x/mine.pth", ""),
        ("medsam", "/x/medsam_vit_b.pth", ""),
        ("nano", "", ""),
        ("mobile_sam", "", ""),
        ("somebody/something", "", "somebody/something"),
    ],
)
def test_only_what_the_hub_has_is_left_to_it(name, checkpoint, hub_id):
    assert find_hub_id(BaseIdentity(name, checkpoint, 1024, "")) == hub_id


def test_the_class_is_named_as_one_imports_it(make_tuned, family_name):
    module, name = class_of(make_tuned(family_name))
    scope = {}
    exec(f"from {module} import {name}", scope)  # noqa: S102
    assert issubclass(scope[name], torch.nn.Module)
