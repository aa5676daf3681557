"""`AutomaticMaskGenerator` gives the masks of segment_anything's procedure, and what users expect."""

import inspect

import numpy as np
import pytest
import torch

from samtune.data.drawn.source import DrawnPictures
from samtune.errors import UserError
from samtune.geometry import logits_to_original
from samtune.images.intensity import to_uint8
from samtune.inference.automatic.crops import tile_boxes
from samtune.inference.automatic.generator import AutomaticMaskGenerator
from samtune.inference.predictor import SamPredictor
from samtune.masks import rle_to_mask
from samtune.models.loading import load_model
from samtune.models.mask_thresholds import FittedThresholds, MaskThresholds
from samtune.reading import Reading

# nano's head says less than 0.88 of most masks
EASY = {"pred_iou_thresh": 0.4, "stability_score_thresh": 0.6}


@pytest.fixture(scope="module")
def sam():
    """The bundled network without what sharpens its masks; no test may change it."""
    sam = load_model("nano")
    sam.base_sharpeners = torch.nn.ModuleList()
    return sam


@pytest.fixture(scope="module")
def scene():
    return DrawnPictures("test").read(0).image


@pytest.fixture(scope="module")
def reference(load_script):
    return load_script("automatic_reference").generate


class TestEqualToTheReference:
    @pytest.mark.parametrize(
        "settings",
        [
            {"points_per_side": 12},
            {"points_per_side": 8, "points_per_batch": 7, "box_nms_thresh": 0.3},
            {"points_per_side": 6, "crop_n_layers": 1},
            {"points_per_side": 4, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2,
             "crop_overlap_ratio": 0.2, "crop_nms_thresh": 0.5},
            {"points_per_side": 10, "min_mask_region_area": 60},
            {"points_per_side": 5, "crop_n_layers": 1, "min_mask_region_area": 30},
        ],
    )  # fmt: skip
    def test_to_the_last_bit(self, sam, scene, reference, settings):
        ours = AutomaticMaskGenerator(sam, **EASY, **settings, output_mode="coco_rle")
        settings["downscale"] = settings.pop("crop_n_points_downscale_factor", 1)
        expected = reference(SamPredictor(sam), scene, **EASY, **settings)
        assert len(expected) > 5
        assert ours.generate(scene) == expected

    @pytest.mark.parametrize("hw", [(250, 90), (40, 333), (1, 40), (7, 7)])
    def test_images_of_any_shape(self, sam, scene, reference, hw):
        image = np.ascontiguousarray(np.resize(scene, (*hw, 3)))
        ours = AutomaticMaskGenerator(sam, 6, **EASY, output_mode="coco_rle").generate(image)
        assert ours == reference(SamPredictor(sam), image, 6, **EASY)

    def test_where_nothing_is_filtered_but_empty_masks(self, sam, scene, reference):
        none = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
        ours = AutomaticMaskGenerator(sam, 6, **none, output_mode="coco_rle").generate(scene)
        expected = [
            record for record in reference(SamPredictor(sam), scene, 6, **none) if record["area"]
        ]
        assert len(ours) > 50
        assert ours == expected


def test_only_masks_that_can_pass_are_enlarged_and_few_at_once(sam, scene, monkeypatch):
    sizes = []

    def spy(logits, hw, frame):
        sizes.append(len(logits))
        return logits_to_original(logits, hw, frame)

    monkeypatch.setattr("samtune.inference.automatic.generator.logits_to_original", spy)
    AutomaticMaskGenerator(sam, 8, pred_iou_thresh=2.0).generate(scene)
    assert not any(sizes)
    large = np.ascontiguousarray(scene.repeat(3, 0).repeat(2, 1))
    AutomaticMaskGenerator(sam, 8, pred_iou_thresh=0.2).generate(large)
    assert len(sizes) > 2
    assert max(sizes) * large[..., 0].size <= 2**19


class TestOutput:
    def test_modes_hold_the_same_masks(self, sam, scene):
        masks, plain, coco = (
            AutomaticMaskGenerator(sam, 8, **EASY, output_mode=mode).generate(scene)
            for mode in ("binary_mask", "uncompressed_rle", "coco_rle")
        )
        assert len(masks) == len(plain) == len(coco) > 5
        for record, its_plain, its_coco in zip(masks, plain, coco, strict=True):
            mask = record["segmentation"]
            assert mask.dtype == np.bool_
            assert mask.shape == scene.shape[:2]
            np.testing.assert_array_equal(mask, rle_to_mask(its_plain["segmentation"]))
            np.testing.assert_array_equal(mask, rle_to_mask(its_coco["segmentation"]))
            assert isinstance(its_plain["segmentation"]["counts"], list)
            assert record["area"] == mask.sum()

    def test_records_are_segment_anything_s(self, sam, scene):
        record = AutomaticMaskGenerator(sam, 8, **EASY).generate(scene)[0]
        assert list(record) == [
            "segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score",
            "crop_box",
        ]  # fmt: skip
        rows, columns = np.nonzero(record["segmentation"])
        width, height = np.ptp(columns), np.ptp(rows)
        assert record["bbox"] == [columns.min(), rows.min(), width, height]
        assert record["crop_box"] == [0, 0, 256, 256]

    def test_arguments_are_segment_anything_s(self):
        parameters = inspect.signature(AutomaticMaskGenerator).parameters
        fitted = ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh")
        assert all(parameters[name].default is None for name in fitted)
        assert [(p.name, p.default) for p in parameters.values() if p.name not in fitted] == [
            ("model", inspect.Parameter.empty), ("points_per_side", 32), ("points_per_batch", 64),
            ("stability_score_offset", 1.0), ("crop_n_layers", 0), ("crop_nms_thresh", 0.7),
            ("crop_overlap_ratio", 512 / 1500), ("crop_n_points_downscale_factor", 1),
            ("point_grids", None), ("min_mask_region_area", 0), ("output_mode", "binary_mask"),
        ]  # fmt: skip

    def test_nothing_passes(self, sam, scene):
        assert AutomaticMaskGenerator(sam, 4, pred_iou_thresh=2.0).generate(scene) == []
        strict = AutomaticMaskGenerator(
            sam, 4, pred_iou_thresh=0, stability_score_thresh=1.1, crop_n_layers=1,
            min_mask_region_area=9,
        )  # fmt: skip
        assert strict.generate(scene) == []

    def test_own_grids(self, sam, scene):
        grid = np.array([[0.5, 0.5], [0.25, 0.75]])
        ours = AutomaticMaskGenerator(
            sam, None, point_grids=[grid], pred_iou_thresh=0.0, stability_score_thresh=0.0
        )
        points = {tuple(record["point_coords"][0]) for record in ours.generate(scene)}
        assert points
        assert points <= {(128.0, 128.0), (64.0, 192.0)}


class TestThresholds:
    def test_are_segment_anything_s_for_a_base(self, sam):
        assert AutomaticMaskGenerator(sam).thresholds == MaskThresholds(0.88, 0.95, 0.7)

    def test_are_the_model_s_own_where_they_were_fitted(self):
        sam = load_model("nano")
        sam.thresholds = FittedThresholds(MaskThresholds(0.5, 0.7, 0.6), 32)
        assert AutomaticMaskGenerator(sam).thresholds == MaskThresholds(0.5, 0.7, 0.6)
        given = AutomaticMaskGenerator(sam, stability_score_thresh=0.0).thresholds
        assert given == MaskThresholds(0.5, 0.0, 0.6)


def test_crops_are_of_the_image_stretched_as_a_whole():
    scene = (DrawnPictures("test").read(1).image // 4).astype(np.uint8)
    settings = {"points_per_side": 5, "crop_n_layers": 1, **EASY, "output_mode": "coco_rle"}
    tuned, plain = load_model("nano"), load_model("nano")
    tuned.reading = Reading(stretch="percentile")
    expected = AutomaticMaskGenerator(plain, **settings).generate(to_uint8(scene, "percentile"))
    assert len(expected) > 5
    assert AutomaticMaskGenerator(tuned, **settings).generate(scene) == expected


def test_numbers_and_grids_of_numpy_are_taken(sam, scene):
    plain = AutomaticMaskGenerator(sam, 5, 5, 0.4, 0.6, output_mode="coco_rle")
    numpy = AutomaticMaskGenerator(
        sam, None, np.int64(5), np.float32(0.4), np.float64(0.6), output_mode="coco_rle",
        point_grids=np.array(plain.point_grids),
    )  # fmt: skip
    assert len(plain.generate(scene)) > 2
    assert numpy.generate(scene) == plain.generate(scene)


def test_thresholds_may_be_set_later_as_notebooks_do(sam, scene):
    generator = AutomaticMaskGenerator(sam, 6, output_mode="coco_rle")
    generator.pred_iou_thresh, generator.stability_score_thresh = 0.3, 0.5
    generator.box_nms_thresh = 0.4
    assert generator.thresholds == MaskThresholds(0.3, 0.5, 0.4)
    expected = AutomaticMaskGenerator(sam, 6, 64, 0.3, 0.5, 1.0, 0.4, output_mode="coco_rle")
    found = generator.generate(scene)
    assert found == expected.generate(scene)
    assert len(found) > len(AutomaticMaskGenerator(sam, 6).generate(scene))


class TestTiles:
    @pytest.mark.parametrize("side", [256, 400])
    def test_one_tile_is_the_whole_image(self, sam, scene, side):
        generator = AutomaticMaskGenerator(sam, 10, **EASY, min_mask_region_area=30)
        whole = generator.search(scene)
        tiled = generator.search(scene, tile_boxes(scene.shape[:2], side, 64))
        assert len(whole) > 5
        assert [(c.rle(), c.predicted_iou, c.stability_score, c.point_xy) for c in tiled] == [
            (c.rle(), c.predicted_iou, c.stability_score, c.point_xy) for c in whole
        ]

    @pytest.mark.parametrize(
        ("side", "overlap"), [(128, 64), pytest.param(96, 40, marks=pytest.mark.slow)]
    )
    def test_objects_over_seams_come_once_and_whole(self, sam, side, overlap):
        rows, columns = np.mgrid[:256, :256]
        image = np.full((256, 256, 3), 45, np.uint8)
        places = [(y, x) for y in (32, 96, 160, 224) for x in (32, 96, 160, 224)]
        discs = [(rows - y) ** 2 + (columns - x) ** 2 < 14**2 for y, x in places]
        image[np.any(discs, axis=0)] = 200
        generator = AutomaticMaskGenerator(sam, 8, **EASY, box_nms_thresh=0.3)
        tiles = tile_boxes((256, 256), side, overlap)
        num_cut = sum(disc[:, x0 - 1 : x0 + 1].all(1).any() for disc in discs for x0, *_ in tiles)
        assert num_cut > 3, "some lie on seams"
        masks = [candidate.mask() for candidate in generator.search(image, tiles)]
        ious = np.array([[(m & d).sum() / (m | d).sum() for d in discs] for m in masks])
        assert (ious > 0.9).sum(axis=0).tolist() == [1] * len(discs)

    def test_what_a_tile_cuts_off_is_left_out(self, sam, scene):
        generator = AutomaticMaskGenerator(sam, 6, **EASY)
        found = generator.search(scene, tile_boxes((256, 256), 128, 32))
        assert len({candidate.crop_xyxy for candidate in found}) > 1
        for candidate in found:
            near = np.abs(candidate.box_xyxy - candidate.crop_xyxy) <= 4
            assert not (near & (np.array(candidate.crop_xyxy) % 256 > 0)).any()


class TestMistakes:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"points_per_side": None}, "either points_per_side or point_grids"),
            ({"point_grids": [np.zeros((1, 2))]}, "either points_per_side or point_grids"),
            ({"points_per_side": 0}, "points_per_side is 0"),
            ({"points_per_side": 2, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
             "points_per_side is 2: give 4"),
            ({"points_per_batch": 0}, "points_per_batch is 0"),
            ({"crop_n_layers": -1}, "crop_n_layers is -1"),
            ({"pred_iou_thresh": float("nan")}, "pred_iou_thresh is nan"),
            ({"crop_overlap_ratio": 1.0}, "crop_overlap_ratio is 1.0"),
            ({"output_mode": "png"}, "output_mode is 'png'"),
            ({"points_per_side": None, "point_grids": [np.zeros((3, 3))]}, "shape"),
            ({"points_per_side": None, "point_grids": np.zeros((3, 2))}, "shape"),
            ({"points_per_side": None, "point_grids": []}, "1 grids of shape"),
            ({"points_per_side": None, "point_grids": 7}, "something else than numbers"),
            ({"points_per_side": None, "point_grids": [[["a", "b"]]]}, "else than numbers"),
            ({"points_per_side": None, "point_grids": [np.array([[128, 64]])]}, "divide pixels"),
            ({"points_per_side": None, "point_grids": [[[np.nan, 0.5]]]}, "xy in 0..1"),
            ({"points_per_side": 4.5}, "points_per_side is 4.5: give a whole number"),
            ({"points_per_side": "4"}, "points_per_side is '4': give a whole number"),
            ({"points_per_batch": 2.5}, "points_per_batch is 2.5: give a whole number"),
            ({"points_per_batch": True}, "points_per_batch is True"),
            ({"crop_n_layers": 1.0}, "crop_n_layers is 1.0: give a whole number from 0"),
            ({"crop_n_points_downscale_factor": None}, "downscale_factor is None"),
            ({"pred_iou_thresh": "0.5"}, "pred_iou_thresh is '0.5': give a number"),
            ({"stability_score_offset": None}, "stability_score_offset is None"),
            ({"crop_overlap_ratio": -0.1}, "crop_overlap_ratio is -0.1"),
            ({"crop_overlap_ratio": "a"}, "crop_overlap_ratio is 'a'"),
            ({"min_mask_region_area": -3}, "min_mask_region_area is -3: give a number from 0"),
        ],
    )  # fmt: skip
    def test_are_told(self, sam, arguments, message):
        with pytest.raises(UserError, match=message):
            AutomaticMaskGenerator(sam, **arguments)

    @pytest.mark.parametrize("image", [np.zeros((5, 5), np.uint8), None, "a.png", [[[0, 0, 0]]]])
    def test_an_image_of_another_kind(self, sam, image):
        with pytest.raises(UserError, match="expected"):
            AutomaticMaskGenerator(sam, 2).generate(image)
