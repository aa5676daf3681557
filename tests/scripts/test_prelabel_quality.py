"""The script that measures pre-labels: boxes from objects, IoU and order from its files."""

import csv
import json

import numpy as np
import pytest

from samtune.data.readers.mask_folder import MaskFolder
from samtune.masks import mask_to_rle, rle_to_mask


@pytest.fixture(scope="module")
def quality(load_script):
    return load_script("prelabel_quality")


def test_boxes_without_noise_are_those_of_the_objects(quality, discs, tmp_path):
    source = MaskFolder(discs / "test")
    assert quality.write_boxes(source, tmp_path, 0.0, 1) == 2
    rows = list(csv.DictReader((tmp_path / "boxes.csv").open()))
    truths = json.loads((tmp_path / "truths.json").read_text())
    assert len(rows) == len(truths) == 6
    for row, truth in zip(rows, truths, strict=True):
        assert (tmp_path / "images" / row["file"]).is_file()
        y, x = np.nonzero(rle_to_mask(truth))
        box = [float(row[name]) for name in ("x0", "y0", "x1", "y1")]
        assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_what_is_measured(quality, tmp_path):
    """Ten objects of which the first of the queue has no mask and one of the others half of it."""
    truth = np.zeros((8, 8), np.bool_)
    truth[2:6, 2:6] = True
    half = truth.copy()
    half[4:] = False
    masks = [None, half, *[truth] * 8]
    (tmp_path / "truths.json").write_text(json.dumps([mask_to_rle(truth)] * 10))
    annotations = [
        {"id": n, "segmentation": mask_to_rle(mask)}
        for n, mask in enumerate(masks, start=1)
        if mask is not None
    ]
    (tmp_path / "coco.json").write_text(json.dumps({"annotations": annotations}))
    lines = [f"{n},{1 - n / 20},{'accept' if n > 5 else 'review'}" for n in range(1, 11)]
    (tmp_path / "review.csv").write_text("\n".join(["object,score,decision", *lines]))
    told = quality.measure(tmp_path)
    assert "10 boxes: mIoU 0.850" in told
    assert "worst tenth 100%" in told
    assert "by score alone 0%" in told
    assert "50% accepted, of which 100.0%" in told
