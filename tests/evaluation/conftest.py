"""A folder of small pictures with objects, a small network, and rows made by hand."""

import numpy as np
import pytest
from PIL import Image

from samtune.data.mask_folder import MaskFolder
from samtune.evaluation.compare import Row, Score
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
    """A function that loads nano anew, for inputs of 64 pixels."""
    return lambda: load_model("nano", image_size=64)


@pytest.fixture(scope="session")
def make_row():
    """A function that makes a row from IoUs; Dice is 2 IoU / (1 + IoU), the expected IoU 0.5."""

    def score(iou):
        return Score(iou, 2 * iou / (1 + iou), 0.5)

    def make(image_id, base, tuned=None, *, protocol="box", object_id=1, class_name="", area=100):
        scores = {"base": score(base)}
        if tuned is not None:
            scores["tuned"] = score(tuned)
        return Row(protocol, ObjectKey(image_id, object_id, class_name), area, scores)

    return make
