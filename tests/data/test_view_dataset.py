from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from samtune.data import views
from samtune.data.datamodule import SamDataModule
from samtune.data.label_maps import without_ignored
from samtune.data.settings import DataSettings
from samtune.data.source import Record, Source
from samtune.data.views import (
    ViewDataset,
    ViewSettings,
    class_shares,
    collate_views,
    fitting_tile,
    fitting_tiles,
)
from samtune.errors import UserError
from samtune.types import IGNORED_CLASS, InputFrame, Sample

GRID = InputFrame(64).grid(32)


def as_given(labels, classes):
    return {"labels": labels[0]}


SETTINGS = ViewSettings(GRID, as_given, tile=40, augment="microscopy", per_image=3)


class Square(Source):
    """A bright square in a dark image, of what size is asked for."""

    def __init__(self, hw=(80, 100), side=20, classes=None, count=2):
        self.records = [Record(str(number), str(number)) for number in range(count)]
        self.shape, self.side, self.names = hw, side, classes or {}

    def read(self, index):
        labels = np.zeros((1, *self.shape), np.int32)
        labels[0, 10 : 10 + self.side, 30 : 30 + self.side] = 4
        image = np.where(labels[0] > 0, 200, 20).astype(np.uint8)
        return Sample(self.records[index].image_id, np.stack([image] * 3, -1), labels, self.names)


def test_a_view_depends_on_image_number_and_epoch_alone():
    one, other = ViewDataset(Square(), SETTINGS, True), ViewDataset(Square(), SETTINGS, True)
    other[(5, 1)]
    for key in ((0, 0), (4, 0), (4, 1)):
        assert torch.equal(one[key].pixel_values, other[key].pixel_values)
    assert len(one) == 6
    first, *others = one[(0, 0)], one[(1, 0)], one[(0, 1)]
    assert not any(torch.equal(first.pixel_values, each.pixel_values) for each in others)


def test_views_come_several_times_in_an_epoch_of_training_and_are_drawn_once():
    settings = replace(SETTINGS, repeats=3)
    data = ViewDataset(Square(), settings, True)
    assert (len(data), data.num_views) == (18, 6)
    drawn = {number: data[(number, 4)] for number in range(18)}
    for number, view in drawn.items():
        assert view.key == (number % 6, 4)
        assert view is drawn[number % 6]
    assert not torch.equal(drawn[0].pixel_values, drawn[1].pixel_values)
    assert len(ViewDataset(Square(), settings, False)) == 6


def test_views_beyond_what_is_kept_are_drawn_again(monkeypatch):
    data = ViewDataset(Square(), replace(SETTINGS, repeats=2), True)
    monkeypatch.setattr(views, "_KEPT_VIEWS_BYTES", 2 * data[(0, 0)].num_bytes)
    data._views.clear()
    first = [data[(number, 0)] for number in range(12)]
    assert len(data._views) == 2
    for number in range(6):
        assert torch.equal(first[number].pixel_values, first[number + 6].pixel_values)
    data[(0, 1)]
    assert {key[1] for key in data._views} == {1}


def test_image_and_labels_are_cut_and_turned_alike():
    settings = replace(SETTINGS, augment="none")
    for number in range(6):
        view = ViewDataset(Square(), settings, True)[(number, 0)]
        bright = torch.nn.functional.interpolate(view.pixel_values[None], (32, 32), mode="area")
        is_bright = (bright[0, 0] > 0.2) & view.valid
        same = is_bright == (view.targets["labels"] == 4)
        assert same[view.valid].float().mean() > 0.93


def test_padding_does_not_count():
    view = ViewDataset(Square((40, 20), 10), replace(SETTINGS, tile=400), False)[(0, 0)]
    assert view.valid[:, :16].all()
    assert not view.valid[:, 16:].any()


def test_validation_has_the_same_views_in_every_epoch_and_augments_none():
    one = ViewDataset(Square(), SETTINGS, False)[(0, 0)]
    plain = ViewDataset(Square(), replace(SETTINGS, augment="none"), True)[(0, 0)]
    assert torch.equal(one.pixel_values, plain.pixel_values)


@pytest.mark.parametrize("side", [10, 40])
def test_views_fit_the_objects_of_their_own_image(side):
    settings = replace(SETTINGS, augment="none", object_side=16.0, tile=100)
    drawn = [ViewDataset(Square((400, 400), side), settings, False)[(n, 0)] for n in range(6)]
    shares = [float((view.targets["labels"] == 4).sum()) / 32**2 for view in drawn]
    # 16 of 64 pixels of the input, times or through at most 1.4
    assert 0.6 < np.sqrt(max(shares)) * 64 / 16 < 1.6


def test_what_is_ignored_is_nothing_and_does_not_count():
    whole = replace(SETTINGS, tile=400)
    view = ViewDataset(Square((64, 64), classes={4: IGNORED_CLASS}), whole, False)[(0, 0)]
    assert not view.targets["labels"].any()
    assert not view.valid[5:15, 15:25].any()
    assert view.valid.sum() == 32 * 32 - 100


def test_views_become_a_batch():
    drawn = [ViewDataset(Square(), SETTINGS, True)[(number, 0)] for number in range(3)]
    batch = collate_views([*drawn, None])
    assert batch.pixel_values.shape == (3, 3, 64, 64)
    assert batch.targets["labels"].shape == batch.valid.shape == (3, 32, 32)
    assert len(collate_views([None])) == 0


@pytest.mark.parametrize(
    ("side", "hw", "tile"),
    [(21, (300, 300), 176), (9, (300, 300), 80), (100, (300, 200), 300), (3, (300, 300), 64)],
)
def test_objects_cover_nearly_two_tokens_where_the_image_is_large_enough(side, hw, tile):
    assert fitting_tile(Square(hw, side), 256) == tile


def test_views_go_no_further_than_those_that_fitted_an_image():
    assert fitting_tiles(Square((300, 300), 21), 256) == (176, 176)
    assert fitting_tiles(Square((90, 70), 0), 256) == (90, 90)


def test_shares_of_classes_are_of_all_pixels():
    shares = class_shares(Square((40, 100), 20, {4: "silo"}))
    assert shares == {"background": 0.9, "silo": 0.1}
    assert list(class_shares(Square())) == ["background", "object"]


def test_without_objects_there_are_no_classes():
    with pytest.raises(UserError, match="the masks are empty"):
        class_shares(Square(side=0))


class TestIgnored:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("train/images", "train/labels"):
            (tmp_path / name).mkdir(parents=True)
        labels = np.zeros((20, 30), np.uint8)
        labels[2:6, 2:6], labels[10:, :] = 3, 255
        Image.fromarray(labels).save(tmp_path / "train/labels/a.png")
        Image.fromarray(labels).convert("RGB").save(tmp_path / "train/images/a.png")
        return tmp_path

    @pytest.mark.parametrize("kind", ["instances", "semantic", "binary"])
    def test_is_kept_apart_from_objects_and_background(self, folder, kind):
        settings = DataSettings(str(folder), labels=kind, ignore_values=[255])
        plain = SamDataModule(settings).whole_source("train").read(0)
        kept = SamDataModule(settings, is_for_head=True).whole_source("train").read(0)
        assert not plain.labels[0, 10:].any()
        sample, is_ignored = without_ignored(kept)
        np.testing.assert_array_equal(sample.labels, plain.labels)
        assert sample.classes == plain.classes
        assert is_ignored[10:].all()
        assert not is_ignored[:10].any()
