import multiprocessing
import pickle

import numpy as np
import pytest

from samtune.data.drawn import textures
from samtune.data.drawn.canvas import GROUP, PART, WHOLE
from samtune.data.drawn.kinds import KINDS
from samtune.data.drawn.source import (
    NUM_PICTURES,
    DrawnPictures,
    drawn_splits,
    without_crumbs,
)
from samtune.data.objects import find_objects
from samtune.errors import UserError


@pytest.fixture(scope="module")
def scenes():
    return DrawnPictures("val", seed=3)


@pytest.fixture(scope="module")
def samples(scenes):
    return [scenes.read(number) for number in range(60)]


def test_a_scene_is_fixed_by_seed_split_and_number(scenes):
    again = DrawnPictures("val", seed=3)
    assert np.array_equal(scenes.read(7).image, again.read(7).image)
    assert np.array_equal(scenes.read(7).labels, again.read(7).labels)


@pytest.mark.parametrize("other", [("val", 4, 7), ("test", 3, 7), ("val", 3, 8)])
def test_other_seeds_splits_and_numbers_give_other_scenes(scenes, other):
    split, seed, number = other
    sample = DrawnPictures(split, seed).read(number)
    assert not np.array_equal(scenes.read(7).image, sample.image)


def test_reading_out_of_order_changes_nothing(scenes, samples):
    assert np.array_equal(scenes.read(2).image, samples[2].image)


def test_images_and_labels_have_the_forms_of_a_sample(samples):
    for sample in samples:
        assert sample.image.shape == (256, 256, 3)
        assert sample.image.dtype == np.uint8
        assert sample.labels.shape == (3, 256, 256)
        assert sample.labels.dtype == np.int32
    assert len({sample.image_id for sample in samples}) == len(samples)


def test_every_id_lies_on_one_layer(samples):
    for sample in samples:
        found = [set(np.unique(layer)) - {0} for layer in sample.labels]
        assert not found[WHOLE] & found[PART]
        assert not found[GROUP] & (found[WHOLE] | found[PART])


@pytest.mark.slow
def test_sizes_reach_from_a_few_pixels_to_more_than_a_third_of_the_picture():
    source = DrawnPictures("train", seed=1)
    areas = np.array(
        [place.area for number in range(150) for place in find_objects(source.read(number).labels)]
    )
    shares = areas / 256**2
    assert 0.0004 <= shares.min() < 0.001
    assert np.quantile(shares, 0.05) < 0.004
    assert shares.max() > 0.35


def test_most_scenes_have_objects_and_some_have_parts(samples):
    counts = [len(find_objects(sample.labels)) for sample in samples]
    assert np.mean(np.array(counts) > 0) > 0.95
    assert np.mean([sample.labels[PART].any() for sample in samples]) > 0.15


def test_parts_lie_within_one_whole(samples):
    num_parts = 0
    for sample in samples:
        for place in find_objects(sample.labels[PART : PART + 1]):
            below = sample.labels[WHOLE][sample.labels[PART] == place.object_id]
            assert len(np.unique(below)) == 1
            num_parts += 1
    assert num_parts > 10


def test_there_are_grey_and_coloured_dark_and_bright_pictures(samples):
    is_grey = [np.ptp(sample.image.astype(int), axis=2).max() == 0 for sample in samples]
    means = [sample.image.mean() for sample in samples]
    assert 0.1 < np.mean(is_grey) < 0.9
    assert min(means) < 50
    assert max(means) > 190


def test_objects_can_be_seen(samples):
    """Most differ from what surrounds them by more than a few grey levels."""
    differences = []
    for sample in samples:
        smooth = sample.image.astype(float).mean(2)
        for place in find_objects(sample.labels[WHOLE : WHOLE + 1]):
            inside = sample.labels[WHOLE] == place.object_id
            rows = slice(max(0, place.rows.start - 8), place.rows.stop + 8)
            columns = slice(max(0, place.columns.start - 8), place.columns.stop + 8)
            around = ~inside[rows, columns]
            difference = smooth[inside].mean() - smooth[rows, columns][around].mean()
            differences.append(abs(difference))
    assert np.mean(np.array(differences) > 4) > 0.8


def test_every_kind_of_scene_has_a_share():
    assert sum(share for _, share in KINDS) == pytest.approx(1)


def test_splits_have_their_numbers_and_records_are_made_when_asked_for():
    splits = drawn_splits(0)
    assert {name: len(source) for name, source in splits.items()} == NUM_PICTURES
    records = splits["train"].records
    assert records[999_999].image_id == records[-1].image_id == "train-999999"
    assert [record.image_id for record in records[2:4]] == ["train-000002", "train-000003"]
    with pytest.raises(IndexError):
        records[1_000_000]


def test_pictures_can_be_of_any_side():
    small = DrawnPictures("test", side=64).read(0)
    large = DrawnPictures("test", side=900).read(0)
    assert small.image.shape == (64, 64, 3)
    assert large.labels.shape == (3, 900, 900)


def test_a_source_travels_to_a_worker(scenes):
    parcel = pickle.dumps(DrawnPictures("val", seed=3))
    assert len(parcel) < 10_000  # without its textures
    copied = pickle.loads(parcel)  # noqa: S301
    assert np.array_equal(copied.read(5).image, scenes.read(5).image)


def test_copies_of_this_process_find_the_textures_drawn(monkeypatch):
    source = DrawnPictures("val", seed=3)

    def draw(*args):
        raise AssertionError("drawn again")

    monkeypatch.setattr(textures.TextureBank, "__init__", draw)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(source.read, (5,)).image.shape == (256, 256, 3)


def test_an_unknown_split_is_refused():
    with pytest.raises(UserError, match="train, val, test"):
        DrawnPictures("training")


def test_crumbs_are_removed_and_all_else_stays():
    labels = np.zeros((3, 64, 64), np.int32)
    labels[0, :10, :10] = 1
    labels[0, 20, 20] = 2
    labels[1, 2:5, 2:5] = 3
    cleaned = without_crumbs(labels, 3)
    assert set(np.unique(cleaned)) == {0, 1, 3}
    assert np.array_equal(cleaned[1], labels[1])
