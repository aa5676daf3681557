"""What masks are: by the class head, by a function, by an ONNX file."""

import json

import numpy as np
import pytest
import torch

from samtune.errors import UserError
from samtune.heads.classes import ClassHead
from samtune.inference import naming
from samtune.inference.classifier import classify, open_classifier
from samtune.inference.instances import to_candidates
from samtune.inference.naming import MaskNamer, named_by_classifier, named_by_head
from samtune.models.loading import load_model


class Colours(ClassHead):
    def forward(self, pixel_values, features):
        return 4 * torch.nn.functional.avg_pool2d(pixel_values, 2)


@pytest.fixture(scope="module")
def sam():
    sam = load_model("nano", image_size=64)
    settings = {"tile": 64, "classes": ["red", "green", "blue"], "weights": [1.0, 1.0, 1.0]}
    sam.heads["classes"] = Colours(sam.encoded, settings)
    return sam


@pytest.fixture
def picture():
    """Three squares of three colours on black, and their masks as candidates."""
    image, labels = np.zeros((90, 130, 3), np.uint8), np.zeros((90, 130), np.int32)
    for number, (y, x) in enumerate(((5, 5), (50, 20), (30, 90)), start=1):
        image[y : y + 25, x : x + 25, number - 1] = 220
        labels[y : y + 25, x : x + 25] = number
    return image, to_candidates(labels, np.array([0.9, 0.8, 0.7], np.float32))


def test_three_classes_in_one_image(sam, picture):
    found = named_by_head(sam, *picture)
    assert [each.class_name for each in found] == ["red", "green", "blue"]
    assert all(0.5 < each.class_score <= 1 for each in found)


def test_without_masks_nobody_looks(sam, picture):
    assert named_by_head(sam, picture[0], []) == []
    assert MaskNamer(sam).name(picture[0], []).shape == (0, 3)


def test_a_function_is_fed_with_cut_outs(tmp_path, picture):
    (tmp_path / "mine.py").write_text(
        "def name(images, masks):\n"
        "    means = [image[mask].mean(0) for image, mask in zip(images, masks)]\n"
        "    return [dict(zip('rgb', (mean / mean.sum()).tolist())) for mean in means]\n"
    )
    classifier = open_classifier(f"{tmp_path / 'mine.py'}:name")
    found = named_by_classifier(classifier, *picture)
    assert [each.class_name for each in found] == ["r", "g", "b"]
    assert found[0].class_score == pytest.approx(1)
    assert classify(classifier, picture[0], []) == []


@pytest.mark.parametrize(
    "answer",
    ["[]", "[{}] * len(images)", "[{'a': float('nan')}] * len(images)", "[3] * len(images)"],
)
def test_answers_that_are_none(tmp_path, picture, answer):
    (tmp_path / "bad.py").write_text(f"def name(images, masks):\n    return {answer}\n")
    with pytest.raises(UserError, match="the classifier"):
        named_by_classifier(open_classifier(f"{tmp_path / 'bad.py'}:name"), *picture)


@pytest.mark.parametrize("name", ["nothing", "no.such:thing", "math:nothing", "math:pi", "x.onnx"])
def test_what_is_no_classifier(name):
    with pytest.raises(UserError, match="classifier"):
        open_classifier(name)


class TestOnnx:
    @pytest.fixture
    def file(self, tmp_path):
        """The mean of each colour is the logit of its class."""
        onnx = pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        value = onnx.helper.make_tensor_value_info
        node = onnx.helper.make_node("ReduceMean", ["x"], ["m"], axes=[2, 3], keepdims=0)
        scale = onnx.helper.make_node("Mul", ["m", "s"], ["y"])
        graph = onnx.helper.make_graph(
            [node, scale], "g", [value("x", 1, ["n", 3, 16, 16])], [value("y", 1, ["n", 3])],
            [onnx.numpy_helper.from_array(np.float32(9), "s")],
        )  # fmt: skip
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
        model.ir_version = 8
        onnx.helper.set_model_props(model, {"classes": json.dumps(["red", "green", "blue"])})
        onnx.save(model, tmp_path / "c.onnx")
        return tmp_path / "c.onnx"

    def test_names_masks(self, file, picture):
        found = named_by_classifier(open_classifier(str(file)), *picture)
        assert [each.class_name for each in found] == ["red", "green", "blue"]

    def test_damaged(self, tmp_path):
        pytest.importorskip("onnxruntime")
        (tmp_path / "c.onnx").write_bytes(b"nonsense")
        with pytest.raises(UserError, match="is no classifier"):
            open_classifier(str(tmp_path / "c.onnx"))


@pytest.mark.parametrize(
    ("side", "tiles", "expected"),
    [(12, (64, 128), 96), (12, (64, 80), 80), (25, (64, 128), 128), (0, (64, 128), 64)],
)
def test_views_are_as_large_as_the_masks_want(monkeypatch, side, tiles, expected):
    sam = load_model("nano", image_size=64)
    settings = {"tile": 64, "object_side": 8.0, "tiles": tiles, "classes": ["a"], "weights": [1.0]}
    sam.heads["classes"] = Colours(sam.encoded, settings)
    asked = []
    monkeypatch.setattr(
        naming,
        "maps_of",
        lambda sam, head, image, tile: asked.append(tile) or np.zeros((1, 90, 130)),
    )
    mask = np.zeros((90, 130), np.bool_)
    mask[:side, :side] = True
    MaskNamer(sam).name(np.zeros((90, 130, 3), np.uint8), [mask])
    assert asked == [expected]
