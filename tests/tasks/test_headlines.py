"""What results say in a sentence: counts, and one clear sentence where nothing is high enough."""

from pathlib import Path

import pytest

from samtune.data.checks.checking import CheckResult
from samtune.data.checks.findings import Finding
from samtune.inference.prelabel.detections import Detections
from samtune.inference.prelabel.summary import Summary
from samtune.models.calibration import Calibration, Threshold
from samtune.tasks.calibrate import CalibrationResult
from samtune.tasks.predict import Predictions


def row(score, area):
    return {"image": "a.png", "object": 1, "score": score, "area": area, "box": [0, 0, 1, 1]}


@pytest.mark.parametrize(
    ("rows", "num_images", "text"),
    [
        ([row(0.912, 9)], 1, "1 mask in 1 image, rated 0.91 (the IoU that the model expects): p"),
        (
            [row(0.9, 9), row(0.5, 4), row(0.7, 1)],
            2,
            "3 masks in 2 images, rated 0.50 to 0.90 (the IoU that the model expects): p",
        ),
        ([row(0.1, 0)], 1, "0 masks in 1 image; 1 prompt without a mask: p"),
    ],
)
def test_predict_says_what_it_found(rows, num_images, text):
    assert Predictions(Path("p"), rows, num_images).headline == text


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        ([], "nothing was found that would spoil a training"),
        (["warning"], "1 warning: you can train, but read what may spoil the result"),
        (["error", "error"], "2 errors to put right before training"),
        (["error", "warning"], "1 error to put right before training; 1 warning beside"),
    ],
)
def test_check_ends_in_what_follows_for_a_training(levels, text):
    findings = [Finding(level, "x") for level in levels]
    assert CheckResult({}, findings).sentence == text


def calibration(*scores):
    thresholds = tuple(
        Threshold(iou, 0.9, score, 0.0 if score is None else 0.5)
        for iou, score in zip((0.9, 0.7), scores, strict=True)
    )
    return Calibration((0.0, 1.0), (0.0, 1.0), "isotonic", 30, "val", thresholds)


def test_calibrate_says_where_no_score_is_high_enough():
    told = CalibrationResult(Path("f"), calibration(None, None), 0.2, 0.1).headline
    assert told.endswith(
        ". No score is high enough to leave masks unreviewed: even of those rated best fewer than 90% "
        "have an IoU of 0.70"
    )
    assert "No score" not in CalibrationResult(Path("f"), calibration(None, 0.8), 0.2, 0.1).headline


def test_prelabel_says_in_one_sentence_why_all_are_to_be_reviewed():
    found = Detections()
    fitted = calibration(None, None)
    summary = Summary(found, fitted, fitted.thresholds[0], [])
    assert summary.headline == (
        "0 objects in 0 images. All are to be reviewed, since no score is high enough: in calibration "
        "even of the masks rated best fewer than 90% had an IoU of 0.90 (a lower --accept asks for "
        "less)."
    )
    assert not any("score" in note for note in summary.notes)
    plain = Summary(found, None, None, [])
    assert plain.headline.endswith("All are to be reviewed, since the scores are not calibrated.")
