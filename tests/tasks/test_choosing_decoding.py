"""The scores of an instance head: what IoU they stand for, saved where it is nearer to the truth."""

import numpy as np
import pytest

from samtune.errors import UserError
from samtune.heads.instances import CALIBRATION, InstanceHead
from samtune.heads.saving import read_heads, write_heads
from samtune.inference.instances import InstanceFinder
from samtune.models.loading import load_model
from samtune.tasks.heads.instances import calibrate_scores

IMAGES = list("abcdefgh")


def scored(shift, num_images=8, num_objects=20):
    rng = np.random.default_rng(1)
    parts = []
    for _ in range(num_images):
        scores = rng.uniform(0.3, 0.6, num_objects)
        parts.append((scores, np.clip(scores + shift + rng.normal(0, 0.02, num_objects), 0, 1)))
    return parts


@pytest.fixture
def finder():
    sam = load_model("nano", image_size=64)
    sam.heads["instances"] = InstanceHead(sam.encoded, {"tile": 0}).eval()
    return InstanceFinder(sam)


def found_by(finder, monkeypatch):
    """One object, whose foreground and seed are 0.6 everywhere."""
    maps = np.zeros((3, 32, 32), np.float32)
    maps[:, 8:24, 8:24] = 0.7
    monkeypatch.setattr(InstanceFinder, "maps", lambda self, image: maps)
    return finder.search(np.zeros((32, 32, 3), np.uint8))


def test_scores_that_are_too_low_are_raised_for_the_finder_and_its_threshold(finder, monkeypatch):
    calibration, told = calibrate_scores(scored(0.3), IMAGES)
    assert "scores are calibrated" in told
    finder.head.changed(sigma=0)
    (plain,) = found_by(finder, monkeypatch)
    assert plain.predicted_iou == pytest.approx(0.49)
    finder.head.changed(**{CALIBRATION: calibration})
    (mended,) = found_by(finder, monkeypatch)
    assert mended.predicted_iou == pytest.approx(0.79, abs=0.02)
    finder.min_quality = 0.7
    assert len(found_by(finder, monkeypatch)) == 1
    finder.min_quality = 0.9
    assert not found_by(finder, monkeypatch)


def test_scores_that_are_right_stay_as_they_are():
    calibration, told = calibrate_scores([(s, s) for s, _ in scored(0)], IMAGES)
    assert calibration is None
    assert "stay as they are" in told


def test_a_few_objects_are_too_few():
    calibration, told = calibrate_scores(scored(0.3, num_images=1), ["a"])
    assert (calibration, told) == (None, "20 objects are too few to calibrate scores on")
    empty = (np.zeros(0), np.zeros(0))
    assert calibrate_scores([empty, empty], ["a", "b"])[0] is None


def test_images_of_one_patient_are_no_other_images():
    assert calibrate_scores(scored(0.3), ["one"] * 8)[0] is None
    assert calibrate_scores(scored(0.3), ["one"] * 4 + ["other"] * 4)[0] is not None


def test_it_is_saved_with_the_head_and_a_damaged_one_is_told(finder, tmp_path):
    calibration, _ = calibrate_scores(scored(0.3), IMAGES)
    finder.head.changed(**{CALIBRATION: calibration})
    write_heads(dict(finder.sam.heads.items()), tmp_path)
    again = read_heads(tmp_path, finder.sam.encoded)["instances"]
    assert again.settings[CALIBRATION] == calibration
    finder.head.changed(**{CALIBRATION: {**calibration, "raw": [1.0, 0.0]}})
    with pytest.raises(UserError, match="train the head again"):
        finder.labels(np.zeros((32, 32, 3), np.uint8))
