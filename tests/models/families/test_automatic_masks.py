"""Automatic masks of every family are those of segment_anything's procedure on its network."""

import numpy as np
import pytest

from samtune.errors import UserError
from samtune.inference.automatic.generator import AutomaticMaskGenerator
from samtune.inference.predictor import SamPredictor

# the logits of random networks are small
MOST = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.2}
OFFSET = 0.02


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(3).integers(0, 256, (50, 80, 3), dtype=np.uint8)


def assert_equal(load_script, sam, image, **settings):
    expected = load_script("automatic_reference").generate(
        SamPredictor(sam), image, 5, **MOST, offset=OFFSET, **settings
    )
    ours = AutomaticMaskGenerator(
        sam, 5, **MOST, stability_score_offset=OFFSET, **settings, output_mode="coco_rle"
    )
    assert ours.generate(image) == expected
    return expected


def test_masks_are_the_reference_s(member, load_script, picture):
    found = assert_equal(load_script, member, picture, box_nms_thresh=1.0)
    assert len(found) > 3


def test_with_crops_and_one_mask_a_point(fresh, load_script, picture):
    fresh.with_multimask = False
    assert_equal(load_script, fresh, picture, crop_n_layers=1, crop_nms_thresh=0.8)


def test_a_network_that_answers_nan_is_said(fresh, picture):
    fresh.core.mask_decoder.iou_prediction_head.proj_out.bias.data.fill_(float("nan"))
    with pytest.raises(UserError, match="NaN"):
        AutomaticMaskGenerator(fresh, 2).generate(picture)
