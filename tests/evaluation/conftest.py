"""A folder of small pictures with objects, a small network, and rows made by hand."""

import numpy as np
import pytest
import torch
from PIL import Image

from samtune.data.readers.mask_folder import MaskFolder
from samtune.evaluation.measure import encode
from samtune.evaluation.rows import Row, Score
from samtune.models.loading import load_model
from samtune.types import ObjectKey


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Three images of 40 x 60, 60 x 40 and 50 x 50 pixels with 3, 2 and 1 objects."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    objects = {
        "a": ((40, 60), [np.s_[5:20, 5:25], np.s_[25:35, 10:50], np.s_[8:14, 40:55]]),
        "b": ((60, 40), [np.s_[0:30, 0:40], np.s_[40:58, 12:30]]),
        "c": ((50, 50), [np.s_[20:24, 20:40]]),
    }
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for name, (hw, windows) in objects.items():
        image = rng.integers(0, 120, (*hw, 3), dtype=np.uint8)
        labels = np.zeros(hw, np.uint8)
        for number, window in enumerate(windows, start=1):
            labels[window] = number
            image[window] += 100
        Image.fromarray(image).save(folder / "images" / f"{name}.png")
        Image.fromarray(labels).save(folder / "labels" / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def source(pictures):
    return MaskFolder(pictures)


@pytest.fixture(scope="session")
def make_sam():
    """A function that loads nano anew, for inputs of 64 pixels, without what sharpens its masks."""

    def make():
        sam = load_model("nano", image_size=64)
        sam.base_sharpeners = torch.nn.ModuleList()
        return sam

    return make


@pytest.fixture(scope="session")
def make_row():
    """A function that makes a row from IoUs; Dice is 2 IoU / (1 + IoU), the expected IoU 0.5.

    Objects are rows of a picture of 10 x 100 pixels; a mask covers so much of one as its IoU says.
    """

    def score(iou, object_id, predicted, clicks):
        mask = np.zeros((10, 100), np.bool_)
        mask[object_id % 10, : round(100 * iou)] = True
        return Score(
            iou=iou, dice=2 * iou / (1 + iou), predicted_iou=predicted, oracle_iou=iou,
            predicted_area=round(100 * iou), overlap=round(100 * iou),
            measures={
                "boundary_iou": iou, "surface_dice": iou, "hd95": 1 - iou, "cldice": iou,
                "surface_dice_by_length": iou, "hd95_by_length": 1 - iou,
            },
            clicks=clicks, rle=encode(mask),
        )  # fmt: skip

    def make(
        image_id, base, tuned=None, *, protocol="box", object_id=1, class_name="", area=100,
        cluster="", repeat=0, columns=(), contrast=1.0, predicted=0.5, clicks=(),
    ):  # fmt: skip
        truth = np.zeros((10, 100), np.bool_)
        truth[object_id % 10] = True
        scores = {"base": score(base, object_id, predicted, clicks)}
        if tuned is not None:
            scores["tuned"] = score(tuned, object_id, predicted, clicks)
        return Row(
            protocol, ObjectKey(image_id, object_id, class_name), area, scores,
            cluster or image_id, repeat, columns, contrast, truth.shape, encode(truth),
        )  # fmt: skip

    return make


@pytest.fixture
def rows(make_row):
    """Two objects on image a and one on image b, under one protocol."""
    return [
        make_row("a", 0.2, 0.3, object_id=1, class_name="cell"),
        make_row("a", 0.4, 0.6, object_id=2, class_name="nucleus"),
        make_row("b", 0.9, 0.9, object_id=1, class_name="cell"),
    ]
