"""A calibration beside the tuned weights: written, read, used."""

import json

import numpy as np
import pytest
import torch

from samtune.errors import UserError
from samtune.inference.predictor import SamPredictor
from samtune.models.calibration import Calibration, Threshold, load_calibration
from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.saving import save_tuned
from samtune.models.settings import LoraSettings

HALVED = Calibration(
    (0.0, 1.0), (0.0, 0.5), "isotonic", 300, "val",
    (Threshold(0.8, 0.9, 0.4, 0.7), Threshold(0.9, 0.95, None, 0.0)),
)  # fmt: skip


@pytest.fixture
def run(tmp_path):
    sam = load_model("nano", image_size=64)
    prepare_for_training(sam, "lora", LoraSettings(rank=2), "lora")
    save_tuned(sam, tmp_path)
    return tmp_path


def test_it_is_read_as_it_was_written(tmp_path):
    HALVED.save(tmp_path)
    assert load_calibration(tmp_path) == HALVED
    assert load_calibration(tmp_path / "elsewhere") is None


def test_lines_between_knots_and_the_ends_beyond():
    scores = torch.tensor([[-1.0, 0.25], [0.5, 2.0]], dtype=torch.float16)
    found = HALVED(scores)
    assert found.dtype == torch.float16
    assert found.tolist() == [[0.0, 0.125], [0.25, 0.5]]


def test_the_predictor_gives_calibrated_scores_and_the_same_masks(run):
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    box = np.array([10, 10, 40, 40])
    plain = SamPredictor(load_model(run))
    plain.set_image(image)
    masks, scores, logits = plain.predict(box=box)
    HALVED.save(run / "adapter")
    mended = SamPredictor(load_model(run))
    mended.set_image(image)
    same_masks, halved, same_logits = mended.predict(box=box)
    np.testing.assert_array_equal(masks, same_masks)
    np.testing.assert_array_equal(logits, same_logits)
    np.testing.assert_allclose(halved, np.clip(scores, 0, 1) / 2, atol=1e-6)
    mended.is_calibrated = False
    np.testing.assert_array_equal(mended.predict(box=box)[1], scores)


def test_new_weights_do_not_keep_the_old_calibration(run):
    HALVED.save(run / "adapter")
    sam = load_model(run)
    assert sam.calibration == HALVED
    save_tuned(sam, run)
    assert load_model(run).calibration is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"raw": [0.0, 0.0]}, "do not increase"),
        ({"calibrated": [0.5, 0.1]}, "do not increase"),
        ({"raw": [0.1]}, "do not increase"),
        ({"thresholds": [{"x": 1}]}, "damaged"),
        ({"raw": None}, "damaged"),
        ({"format": 99}, "newer samtune"),
    ],
)
def test_a_damaged_file_is_a_user_s_error(tmp_path, change, reason):
    path = HALVED.save(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=reason):
        load_calibration(tmp_path)
