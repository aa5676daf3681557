"""The folder for AnyLabeling and X-AnyLabeling: its YAML, and the tools' own steps."""

import re
from functools import cache

import pytest
import yaml

from samtune.data.readers.mask_folder import MaskFolder
from samtune.errors import UserError
from samtune.exports.agreement import compare_masks
from samtune.exports.annotation import export_annotation
from samtune.exports.exported import ExportSettings
from samtune.exports.onnx_session import TorchPredictor, open_session
from samtune.exports.tool_graphs import CANVAS
from samtune.exports.tool_session import PictureTool
from samtune.models.families.table import FAMILIES
from samtune.models.loading import load_model
from tests.conftest import write_discs

# Of the tools, as read from their sources (see samtune/exports/annotation.py)
X_ANYLABELING = {"segment_anything", "segment_anything_2", "sam_hq"}
ANYLABELING = {"segment_anything"}
REQUIRED = {"type", "name", "display_name", "encoder_model_path", "decoder_model_path"}
SIZES = {"input_size", "max_width", "max_height"}
NAME = r"[A-Za-z0-9._-]+"


TYPES = {name: family.tool_type for name, family in FAMILIES.items() if family.tool_type}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name != "sam")) for name in TYPES]
)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def export(make_tuned, settings, tmp_path_factory):
    """A function that gives a family's folder and what was told of it, made once."""

    @cache
    def make(name="sam"):
        out = tmp_path_factory.mktemp(f"annotation_{name}")
        return out, export_annotation(make_tuned(name), out, settings)

    return make


def test_the_yaml_has_what_the_tools_ask_for(export, kind):
    out, exported = export(kind)
    files = sorted(path.name for path in out.glob("*.yaml"))
    has_two = TYPES[kind] == "segment_anything_2"
    assert files == ["config.yaml", "x_anylabeling.yaml"][: 1 + has_two]
    for name in files:
        config = yaml.safe_load((out / name).read_text())
        is_x = kind == "sam_hq" or name.startswith("x_")
        assert config["type"] in (X_ANYLABELING if is_x else ANYLABELING)
        assert set(config) - SIZES == REQUIRED
        assert (set(config) >= SIZES) == (config["type"] != "segment_anything_2")
        assert re.fullmatch(NAME, config["name"])
        for key in ("encoder_model_path", "decoder_model_path"):
            assert (out / config[key]).is_file()
    assert set(exported.files) == {path.name for path in out.iterdir()}

    require_graphs(kind, out)


def require_graphs(kind, out):
    """The inputs and outputs that the tools pass and take, some by name and some by order."""
    encoder, decoder = (open_session(out / f"{name}.onnx") for name in ("encoder", "decoder"))
    inputs = [each.name for each in decoder.get_inputs()]
    if TYPES[kind] == "segment_anything_2":
        assert encoder.get_inputs()[0].shape == [1, 3, 64, 64]
        assert [each.name for each in encoder.get_outputs()][-1] == "image_embed"
        assert inputs[:3] == ["image_embed", "high_res_feats_0", "high_res_feats_1"]
        assert len(decoder.get_outputs()) == 2
        return
    assert encoder.get_inputs()[0].shape == ["height", "width", 3]
    shapes = {each.name: each.shape for each in decoder.get_inputs()}
    assert shapes["mask_input"] == [1, 1, CANVAS // 4, CANVAS // 4]
    assert ("interm_embeddings" in inputs) == (kind == "sam_hq")
    assert len(decoder.get_outputs()) == 3


def test_checks_say_how_the_tool_s_masks_compare(export):
    _, exported = export()
    assert any("mIoU" in check and "the tool" in check for check in exported.checks)
    assert any("onnxruntime against torch" in check for check in exported.checks)
    assert any("read as told above" in note for note in exported.notes)


def test_sam3_is_refused(make_tuned, settings, out):
    with pytest.raises(UserError, match="no type for sam3"):
        export_annotation(make_tuned("sam3"), out, settings)


@pytest.mark.slow
def test_the_tool_s_masks_are_samtune_s(out, tmp_path):
    """With a trained model, on pictures that fill the canvas: what differs is resizing alone."""
    write_discs(tmp_path, "wide", 2, size=(171, 256), num_discs=4)
    sam, source = load_model("nano"), MaskFolder(tmp_path / "wide")
    settings = ExportSettings("nano", is_int8=True, source=source, max_images=2)
    exported = export_annotation(sam, out, settings)
    assert sorted(path.name for path in out.iterdir()) == [
        "config.yaml", "decoder.onnx", "encoder.int8.onnx",
    ]  # fmt: skip
    assert "int8" in exported.checks[-1]
    tool = PictureTool(out, "encoder.int8.onnx")
    found = compare_masks(TorchPredictor(sam), tool, settings)
    assert found.num_prompts > 10
    assert found.same > 0.9
    assert found.other == pytest.approx(found.one, abs=0.03)
