"""Heads go along with a model, and answer as before."""

import json

import numpy as np
import pytest
import torch

from samtune.exports.adapter import export_adapter
from samtune.exports.hf import export_hf
from samtune.exports.onnx import export_onnx
from samtune.exports.onnx_session import open_session
from samtune.heads.classes import ClassHead
from samtune.heads.instances import InstanceHead
from samtune.inference.instances import InstanceFinder
from samtune.models.loading import load_model

pytest.importorskip("onnxruntime")


@pytest.fixture(
    params=[
        "sam",
        pytest.param("sam2", marks=pytest.mark.slow),
        pytest.param("sam_hq", marks=pytest.mark.slow),
    ]
)
def headed(make_tuned, request):
    sam = make_tuned(request.param)
    torch.manual_seed(4)
    sam.heads["instances"] = InstanceHead(sam.encoded, {"tile": 48}).eval()
    settings = {"tile": 48, "classes": ["a", "b"], "weights": [1.0, 1.0]}
    sam.heads["classes"] = ClassHead(sam.encoded, settings).eval()
    return sam


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(5).integers(0, 256, (70, 101, 3), dtype=np.uint8)


@pytest.mark.parametrize("export", [export_adapter, export_hf])
def test_loaded_again_they_answer_the_same(headed, image, settings, out, export):
    expected = InstanceFinder(headed).maps(image)
    told = export(headed, out, settings)
    loaded = load_model(out)
    assert set(loaded.heads) == {"instances", "classes"}
    np.testing.assert_allclose(InstanceFinder(loaded).maps(image), expected, atol=1e-4)
    assert "heads/" in told.files
    assert json.loads((out / "heads/classes/head.json").read_text())["settings"]["classes"] == [
        "a",
        "b",
    ]


def test_encoder_and_head_are_one_graph(headed, settings, out):
    pixels = torch.randn(1, 3, headed.image_size, headed.image_size)
    with torch.no_grad():
        head = headed.heads["instances"]
        expected = head.activate(head(pixels, headed.encode_for_heads(pixels)))
    told = export_onnx(headed, out, settings)
    (found,) = open_session(out / "head_instances.onnx").run(None, {"x": pixels.numpy()})
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)
    assert "views of 48 pixels" in told.files["head_instances.onnx"]
    assert any("head classes" in check for check in told.checks)
