"""Heads on scenes: what reaches over several windows is one polygon, and no seam shows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samtune.errors import UserError
from samtune.heads.instances import InstanceHead
from samtune.heads.semantic import SemanticHead
from samtune.inference import fitting
from samtune.inference.fitting import fitting_tile, whole_and_cut
from samtune.inference.geo.scenes import SceneSettings, find_everything, map_scene, segment_scene
from samtune.inference.instances import InstanceFinder
from samtune.inference.semantic import ClassMapper
from samtune.models.loading import load_model
from tests.inference.geo.conftest import DISCS

rasterio = pytest.importorskip("rasterio")
raw = pytest.importorskip("pyogrio.raw")
shapely = pytest.importorskip("shapely")
WINDOWS = SceneSettings(side=160, overlap=60, min_area=30)


def bright(pixel_values):
    """How bright each cell is, as logits; the pixels are normalised."""
    return 4 * torch.nn.functional.avg_pool2d(pixel_values[:, :1], 2)


class Bright(InstanceHead):
    def forward(self, pixel_values, features):
        return bright(pixel_values).repeat(1, 3, 1, 1)


class BrightClass(SemanticHead):
    def forward(self, pixel_values, features):
        logits = bright(pixel_values)
        return torch.cat([-logits, logits], 1)


@pytest.fixture
def sam():
    sam = load_model("nano", image_size=64)
    sam.heads["instances"] = Bright(sam.encoded, {"tile": 64})
    about = {"tile": 64, "classes": ["background", "silo"], "weights": [1.0, 1.0]}
    sam.heads["semantic"] = BrightClass(sam.encoded, about)
    return sam


def test_objects_become_valid_polygons_across_windows(sam, make_scene, discs_image, tmp_path):
    scene, out = make_scene(discs_image), tmp_path / "o.gpkg"
    count = segment_scene(scene, find_everything(InstanceFinder(sam).search), out, WINDOWS, {})
    meta, _, shapes, columns = raw.read(out)
    outlines = shapely.from_wkb(shapes)
    areas = dict(zip(meta["fields"], columns, strict=True))["area_m2"]
    expected = sorted(4 * np.pi * radius**2 for _, _, radius in DISCS)
    assert count == len(DISCS)
    assert shapely.is_valid(outlines).all()
    assert sorted(areas) == pytest.approx(expected, rel=0.15)


def test_objects_have_the_classes_that_somebody_tells(sam, make_scene, discs_image, tmp_path):
    def size_of(each):
        return "large" if each.cropped().sum() > 900 else "small"

    def named(image):
        found = InstanceFinder(sam).search(image)
        return [
            replace(
                each,
                class_name="large" if each.cropped().sum() > 900 else "small",
                class_score=0.75,
            )
            for each in found
        ]

    out = tmp_path / "o.gpkg"
    segment_scene(make_scene(discs_image), find_everything(named), out, WINDOWS, {})
    meta, _, _, columns = raw.read(out)
    told = dict(zip(meta["fields"], columns, strict=True))
    is_large = np.isin(told["class"], "large")
    assert is_large.sum() == sum(np.pi * radius**2 > 900 for _, _, radius in DISCS)
    assert (told["area_m2"][is_large] > told["area_m2"][~is_large].max()).all()
    assert told["class_score"].tolist() == pytest.approx([0.75] * len(DISCS))


def test_classes_become_a_raster_with_names(sam, make_scene, discs_image, tmp_path):
    scene, out, mapper = make_scene(discs_image), tmp_path / "o.tif", ClassMapper(sam)
    pixels = map_scene(scene, mapper.labels, mapper.classes, out, WINDOWS, {})
    with rasterio.open(out) as file:
        labels, tags = file.read(1), file.tags(1)
        assert file.crs.to_epsg() == 32632
    truth = discs_image > 0
    assert ((labels == 1) & truth).sum() / ((labels == 1) | truth).sum() > 0.95
    assert pixels == {"background": int((labels == 0).sum()), "silo": int((labels == 1).sum())}
    assert (tags["class_0"], tags["class_1"]) == ("background", "silo")


def test_classes_become_areas_with_outlines(sam, make_scene, discs_image, tmp_path):
    scene, mapper = make_scene(discs_image), ClassMapper(sam)
    pixels = map_scene(scene, mapper.labels, mapper.classes, tmp_path / "o.gpkg", WINDOWS, {})
    meta, _, shapes, columns = raw.read(tmp_path / "o.gpkg")
    told = dict(zip(meta["fields"], columns, strict=True))
    assert set(told["class"]) == {"silo"}
    assert shapely.is_valid(shapely.from_wkb(shapes)).all()
    # each disc is one area, though several reach over windows
    assert len(told["area_m2"]) == len(DISCS)
    assert sum(told["area_m2"]) / 4 == pytest.approx(pixels["silo"], abs=60)
    assert (told["score"] > 0.5).all()


def test_an_empty_picture(sam):
    nothing = np.zeros((70, 90, 3), np.uint8)
    labels, scores = InstanceFinder(sam).labels(nothing)
    assert not labels.any()
    assert len(scores) == 0
    assert InstanceFinder(sam).search(nothing) == []
    assert not ClassMapper(sam).labels(nothing)[0].any()


def test_masks_come_best_first_and_are_those_of_the_labels(sam, discs_image):
    image = np.stack([discs_image] * 3, -1)
    finder = InstanceFinder(sam)
    labels, scores = finder.labels(image)
    found = finder.search(image)
    assert len(found) == len(scores) == len(DISCS)
    assert sorted(scores.tolist(), reverse=True) == [each.predicted_iou for each in found]
    joined = np.any([each.mask() for each in found], axis=0)
    np.testing.assert_array_equal(joined, labels > 0)


def test_without_heads(discs_image):
    plain = load_model("nano", image_size=64)
    for kind in (InstanceFinder, ClassMapper):
        with pytest.raises(UserError, match="the model has no head"):
            kind(plain)


def test_answers_that_are_no_numbers(sam):
    sam.heads["instances"].activate = lambda maps: maps * float("nan")
    with pytest.raises(UserError, match="NaN"):
        InstanceFinder(sam).labels(np.zeros((64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("radius", "tile"), [(6, 64), (40, 448), pytest.param(0, 64, marks=pytest.mark.slow)]
)
def test_views_become_as_large_as_the_objects_want_it(sam, radius, tile):
    """Objects are to have 10 of the input's 64 pixels: of a radius of 6 they nearly do at first."""
    image = np.zeros((600, 600, 3), np.uint8)
    y, x = np.mgrid[:600, :600]
    for cy in (100, 300, 500):
        for cx in (100, 300, 500):
            image[np.hypot(y - cy, x - cx) < radius] = 255
    head = sam.heads["instances"].changed(object_side=10.0, tiles=[64, 512])
    assert fitting_tile(sam, head, image) == pytest.approx(tile, abs=32)
    assert InstanceFinder(sam).labels(image)[0].max() == (9 if radius else 0)
    assert fitting_tile(sam, head.changed(tiles=[60, 100]), image) == min(tile, 100)


def test_texture_that_looks_like_objects_from_near_is_none_from_afar(sam, monkeypatch):
    image, asked = np.zeros((600, 600, 3), np.uint8), []

    def typical_side(sam, head, image, tile):
        asked.append(tile)
        return 40.0 if tile > 200 else 10.0

    monkeypatch.setattr(fitting, "_typical_side", typical_side)
    head = sam.heads["instances"].changed(object_side=10.0, tiles=[64, 512])
    assert (
        fitting_tile(sam, head, image) == 256
    )  # where 40 of the image's pixels are 10 of the input's


def test_what_is_small_from_afar_is_looked_at_from_nearer(sam, monkeypatch):
    image, asked = np.zeros((600, 600, 3), np.uint8), []
    seen = {512: 20.0, 128: 16.0}
    monkeypatch.setattr(
        fitting, "_typical_side", lambda sam, head, image, tile: asked.append(tile) or seen[tile]
    )
    head = sam.heads["instances"].changed(object_side=10.0, tiles=[64, 512])
    assert fitting_tile(sam, head, image) == 96
    assert asked == [512, 128]


def test_objects_that_an_edge_cuts_are_told_apart():
    labels = np.zeros((20, 20), np.int32)
    labels[:3, :3], labels[5:10, 5:10] = 1, 3
    assert whole_and_cut(labels) == ([25], [9])
    assert whole_and_cut(np.zeros((4, 4), np.int32)) == ([], [])


def test_refined_masks_are_of_the_same_objects(sam, discs_image):
    image = np.stack([discs_image] * 3, -1)
    plain, refined = InstanceFinder(sam).search(image), InstanceFinder(sam, 0, True).search(image)
    assert len(refined) == len(plain)
    assert min(each.predicted_iou for each in refined) >= min(each.predicted_iou for each in plain)
    masks = [each.mask() for each in plain]
    for each in refined:
        mask = each.mask()
        assert max((mask & own).sum() / (mask | own).sum() for own in masks) >= 0.5
    assert InstanceFinder(sam, 0, True).search(np.zeros_like(image)) == []
