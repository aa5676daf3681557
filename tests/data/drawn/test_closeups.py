import numpy as np
import pytest

from samtune.data.drawn import closeups
from samtune.data.drawn.canvas import Canvas
from samtune.data.drawn.closeups import draw_window, enlarge, mirrored, photographed
from samtune.data.drawn.kinds import draw_ground, draw_palette
from samtune.data.drawn.richer import TRAINING_KINDS
from samtune.data.drawn.source import DrawnPictures
from samtune.data.drawn.textures import TextureBank
from samtune.data.objects import find_objects


@pytest.fixture(scope="module")
def bank():
    return TextureBank(0)


@pytest.fixture
def labels():
    made = np.zeros((3, 256, 256), np.int32)
    made[0, 100:120, 30:60] = 1
    return made


def windows(labels, monkeypatch, count=200):
    monkeypatch.setattr(closeups, "WINDOW_CHANCE", 1.0)
    return [draw_window(labels, np.random.default_rng(seed)) for seed in range(count)]


def test_a_window_lies_in_the_picture_is_square_and_holds_part_of_its_object(labels, monkeypatch):
    for rows, columns in windows(labels, monkeypatch):
        side = rows.stop - rows.start
        assert columns.stop - columns.start == side
        assert min(rows.start, columns.start) >= 0
        assert max(rows.stop, columns.stop) <= 256
        assert labels[0][rows, columns].any()


def test_windows_are_of_many_sizes_but_none_of_a_few_pixels(labels, monkeypatch):
    sides = [rows.stop - rows.start for rows, _ in windows(labels, monkeypatch)]
    assert min(sides) == int(0.22 * 256)
    assert max(sides) > 150


def test_half_of_the_pictures_stay_whole(labels):
    found = [draw_window(labels, np.random.default_rng(seed)) for seed in range(300)]
    assert np.mean([window is None for window in found]) == pytest.approx(0.5, abs=0.1)


def test_an_empty_picture_has_no_window(monkeypatch):
    assert set(windows(np.zeros((3, 64, 64), np.int32), monkeypatch, 5)) == {None}


def test_labels_are_enlarged_with_the_image(labels):
    image = (labels[0] > 0).astype(np.float32)[..., None].repeat(3, 2)
    window = slice(80, 144), slice(20, 84)
    larger, ids = enlarge(image, labels, window, (256, 256))
    assert larger.shape == (256, 256, 3)
    assert ids.shape == (3, 256, 256)
    assert ids.dtype == np.int32
    assert (ids[0] > 0).sum() == 16 * 600
    inside = larger[..., 0] > 0.5
    assert (inside & (ids[0] > 0)).sum() / (inside | (ids[0] > 0)).sum() > 0.9


def test_a_photograph_has_the_form_of_the_image_and_most_differ_from_it():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    taken = [photographed(image, np.random.default_rng(seed)) for seed in range(40)]
    assert all(photo.shape == image.shape and photo.dtype == np.uint8 for photo in taken)
    assert 0.4 < np.mean([not np.array_equal(photo, image) for photo in taken]) < 0.95


def test_image_and_labels_turn_together(labels):
    image = np.repeat((labels[0] > 0).astype(np.uint8)[..., None], 3, 2)
    places = set()
    for seed in range(40):
        turned, ids = mirrored(image, labels, np.random.default_rng(seed))
        assert np.array_equal(turned[..., 0] > 0, ids[0] > 0)
        places.add(tuple(np.argwhere(ids[0])[0]))
    assert len(places) == 8


@pytest.mark.parametrize("kind", range(len(TRAINING_KINDS)))
def test_every_kind_for_training_draws_objects(kind, bank):
    counts = []
    for seed in range(6):
        canvas = Canvas((128, 128), bank, np.random.default_rng(seed))
        palette = draw_palette(canvas.rng)
        draw_ground(canvas, palette)
        TRAINING_KINDS[kind][0](canvas, palette)
        counts.append(len(find_objects(canvas.labels)))
    assert max(counts) > 0


def test_shares_of_the_kinds_for_training_add_up():
    assert sum(share for _, share in TRAINING_KINDS) == pytest.approx(1)


def test_test_pictures_are_still_those_of_the_first_kinds():
    """Figures on them are compared with those of former releases."""
    sample = DrawnPictures("test", seed=7).read(0)
    assert (int(sample.image.sum()), int((sample.labels > 0).sum())) == (40747291, 8511)


def test_training_pictures_are_fixed_by_seed_and_number():
    one, other = (DrawnPictures("train", seed=2).read(11) for _ in range(2))
    assert np.array_equal(one.image, other.image)
    assert np.array_equal(one.labels, other.labels)
