"""The merged transformers folder loads with transformers alone."""

import json
from pathlib import Path

import torch

from samtune.export.checking import largest_difference, sample_answers
from samtune.export.hf import export_hf
from samtune.models.backend import BaseIdentity, Sam
from samtune.models.loading import load_model
from samtune.models.scale import TunedScale


def test_transformers_alone_gives_the_same_logits(make_tuned, family_name, settings, out):
    sam = make_tuned(family_name)
    expected, network = sample_answers(sam), type(sam.core)
    exported = export_hf(sam, out, settings)
    plain = network.from_pretrained(out)
    found = sample_answers(Sam(plain, BaseIdentity("", "", 64, "")).eval())
    assert largest_difference(found, expected) < 1e-4
    assert largest_difference(found, sample_answers(sam)) < 1e-5
    assert exported.notes == (
        ("transformers alone has no such network.",) * (family_name == "mobile_sam")
    )


def test_samtune_reads_images_as_the_run_did(make_tuned, settings, out):
    sam = make_tuned()
    place = str(Path(sam.base.name).parent)
    export_hf(sam, out, settings)
    assert load_model(out).stretch == "auto"
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
