"""The authors' file: their keys and shapes, tensors alone, the same answers."""

import contextlib

import pytest
import torch

from samtune.errors import UserError
from samtune.exports.exported import ExportSettings
from samtune.exports.official import export_official
from samtune.exports.same_answers import largest_difference, sample_answers
from samtune.models.backend import Sam
from samtune.models.identity import BaseIdentity
from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.pretraining.initialise import build_network
from samtune.models.registry import REGISTRY
from samtune.models.settings import LoraSettings
from samtune.models.weights import set_decoder_eps
from tests.exports.conftest import shake
from tests.models.families.published_keys import published
from tests.models.families.tiny import draw

VIDEO = ("memory_", "maskmem_", "no_mem_pos_enc", "no_obj_", "obj_ptr_", "mask_downsample.")


def shapes_of(path):
    state = torch.load(path, weights_only=True)
    state = state.get("model", state)
    return {key: tuple(value.shape) for key, value in state.items()}


@pytest.fixture
def tuned_of_size():
    """A function that gives a tuned network of a published size, at a smaller input."""

    def make(name, side=0, base=None):
        network = draw(build_network(REGISTRY[name]), 0)
        sam = Sam(network, base or BaseIdentity(name, "", side, ""))
        if side:
            sam.family.set_image_size(side)
        prepare_for_training(sam, "lora", LoraSettings(rank=2), "full")
        shake(sam)
        return sam.eval()

    return make


@pytest.mark.parametrize("name", ["sam", "sam_hq"])
def test_it_loads_again_to_the_same_logits(make_tuned, settings, out, name):
    sam = make_tuned(name)
    expected = sample_answers(sam)
    export_official(sam, out, settings)
    found = sample_answers(load_model(out / "tiny.pth"))
    assert largest_difference(found, expected) < 1e-4
    found, merged = sample_answers(load_model(out / "tiny.pth")), sample_answers(sam)
    assert largest_difference(found, merged) < 1e-5


def test_mobile_sam_has_every_published_key_and_shape(tuned_of_size, out):
    export_official(tuned_of_size("mobile_sam", 256), out, ExportSettings("mobile"))
    assert shapes_of(out / "mobile.pth") == published("mobile_sam")


def load_as_told(usage, folder, shapes):
    """Run a card's code with sam2's builder stood for; returns the keys that were loaded.

    As sam2/build_sam.py: without a file nothing is loaded, a file is loaded strictly.
    """

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.loaded = set()

        def load_state_dict(self, state, strict=True):
            assert not strict or state.keys() == shapes.keys(), "sam2's loading is strict"
            self.loaded = state.keys() & shapes.keys()

    def build_sam2(config, file):
        model = Model()
        if file is not None:
            model.load_state_dict(torch.load(file, weights_only=True)["model"])
        return model

    code = usage.removeprefix("```python").removesuffix("```")
    code = code.replace("from sam2.build_sam import build_sam2", "")
    names = {"build_sam2": build_sam2, "config": "sam2.1_hiera_t.yaml"}
    with contextlib.chdir(folder):
        exec(code, names)  # noqa: S102
    return names["model"].loaded


def test_sam2_has_every_published_key_but_those_for_videos(tuned_of_size, out):
    exported = export_official(tuned_of_size("sam2.1_tiny", 128), out, ExportSettings("small"))
    found, expected = shapes_of(out / "small.pth"), published("sam2.1_tiny")
    assert all(expected[key] == shape for key, shape in found.items())
    missing = expected.keys() - found.keys()
    assert missing
    assert all(key.startswith(VIDEO) for key in missing)
    assert "videos are missing" in " ".join(exported.notes)
    assert load_as_told(exported.usage, out, expected) == found.keys()


@pytest.mark.slow
def test_sam2_takes_the_parts_for_videos_from_the_base_s_file(tuned_of_size, out, tmp_path):
    expected = published("sam2.1_tiny")
    file = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": {key: torch.full(shape, 0.5) for key, shape in expected.items()}}, file)
    base = BaseIdentity("sam2.1_tiny", str(file), 128, "")
    exported = export_official(tuned_of_size("sam2.1_tiny", 128, base), out, ExportSettings("all"))
    assert shapes_of(out / "all.pth") == expected
    state = torch.load(out / "all.pth", weights_only=True)["model"]
    assert all(bool((value == 0.5).all()) == key.startswith(VIDEO) for key, value in state.items())
    assert "videos" not in " ".join(exported.notes)
    assert load_as_told(exported.usage, out, expected) == expected.keys()


def test_a_base_s_file_that_became_another_is_an_error(tuned_of_size, out, tmp_path):
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "b.pt")
    base = BaseIdentity("sam2.1_tiny", str(tmp_path / "b.pt"), 128, "")
    with pytest.raises(UserError, match="restore it"):
        export_official(tuned_of_size("sam2.1_tiny", 128, base), out, ExportSettings("all"))


@pytest.mark.parametrize("name", ["sam3", "edgetam"])
def test_families_without_a_layout_of_their_own_are_refused(make_tuned, settings, out, name):
    with pytest.raises(UserError, match="no official layout"):
        export_official(make_tuned(name), out, settings)


def test_another_eps_than_the_authors_is_told(make_tuned, settings, out):
    sam = make_tuned()
    set_decoder_eps(sam.core, 1e-6)
    assert "eps of 1e-06" in " ".join(export_official(sam, out, settings).notes)


def test_the_builder_is_told_where_there_is_one(make_tuned, settings, out):
    sam = make_tuned()
    assert "sam_model_registry` builds" in export_official(sam, out, settings).usage
    sam.base = BaseIdentity("medsam", "", 64, "")
    usage = export_official(sam, out, settings).usage
    assert 'sam_model_registry["vit_b"](checkpoint="tiny.pth")' in usage


def test_weights_that_are_not_finite_are_refused(make_tuned, settings, out):
    sam = make_tuned()
    with torch.no_grad():
        sam.core.mask_decoder.iou_prediction_head.proj_in.weight.fill_(float("nan"))
    with pytest.raises(UserError, match="not finite"):
        export_official(sam, out, settings)
