"""What is found everywhere: by the model's own heads where it has them."""

import numpy as np
import pytest
import torch
from PIL import Image

from samtune.heads.classes import ClassHead
from samtune.heads.instances import InstanceHead
from samtune.inference.prelabel.placed_mask import placed_iou
from samtune.models.calibration import Calibration
from samtune.models.loading import load_model
from samtune.page.images import open_images
from samtune.page.session import Session
from samtune.page.suggesting import find_everything
from tests.conftest import draw_discs


class Bright(InstanceHead):
    def forward(self, pixel_values, features):
        return 4 * torch.nn.functional.avg_pool2d(pixel_values[:, :1], 2).repeat(1, 3, 1, 1)


class Colours(ClassHead):
    def forward(self, pixel_values, features):
        return 4 * torch.nn.functional.avg_pool2d(pixel_values, 2)


def test_objects_and_classes_are_those_of_the_heads(tmp_path):
    sam = load_model("nano", image_size=64)
    sam.heads["instances"] = Bright(sam.encoded, {"tile": 64})
    settings = {"tile": 64, "classes": ["red", "green", "blue"], "weights": [1.0, 1.0, 1.0]}
    sam.heads["classes"] = Colours(sam.encoded, settings)
    image = np.zeros((64, 64, 3), np.uint8)
    image[8:24, 8:24], image[36:56, 36:56] = (220, 20, 20), (190, 20, 220)
    Image.fromarray(image).save(tmp_path / "two.png")
    session = Session(sam, False, open_images([tmp_path / "two.png"], sam.reading), tmp_path / "k")
    session.find_everything(0, "any")
    found = {each.name: each.mask for each in session.state(0).suggested}
    assert set(found) == {"red", "blue"}
    assert found["red"].box == pytest.approx([8, 8, 23, 23], abs=2.1)
    assert found["blue"].box == pytest.approx([36, 36, 55, 55], abs=2.1)
    assert session.kept.classes[0] == "object"
    assert {"red", "blue"} < set(session.kept.classes)


def test_scores_of_a_grid_are_calibrated():
    sam, image = load_model("nano"), draw_discs((90, 120), 3, 0)[0]
    plain = find_everything(sam, image, 0, "base", "cell", [])
    sam.calibration = Calibration((0.0, 1.0), (0.2, 0.6), "isotonic", 10)
    told = find_everything(sam, image, 0, "base", "cell", [])
    assert [each.score for each in told] == pytest.approx(
        [0.2 + 0.4 * min(1.0, max(0.0, each.score)) for each in plain]
    )


def test_one_object_is_suggested_once():
    sam, image = load_model("nano"), draw_discs((90, 120), 5, 1)[0]
    found = find_everything(sam, image, 0, "base", "cell", [])
    pairs = [(one, other) for n, one in enumerate(found) for other in found[:n]]
    assert pairs
    assert all(placed_iou(one.mask, other.mask) < 0.5 for one, other in pairs)
    scores = [each.score for each in found]
    assert scores == sorted(scores)
