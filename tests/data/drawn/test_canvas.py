import numpy as np
import pytest

from samtune.data.drawn.canvas import GROUP, PART, WHOLE, Canvas, Look
from samtune.data.drawn.shapes import rectangle
from samtune.data.drawn.textures import TextureBank

HW = (40, 60)
RED = Look(np.array([1.0, 0.0, 0.0], np.float32), softness=0.0)
BLUE = Look(np.array([0.0, 0.0, 1.0], np.float32), softness=0.0)


@pytest.fixture(scope="module")
def bank():
    return TextureBank(0, num_each=1)


@pytest.fixture
def canvas(bank):
    return Canvas(HW, bank, np.random.default_rng(0))


def square(x, y, side):
    return rectangle((x, y), (side, side), 0.0, HW)


def test_an_object_is_painted_where_its_label_is(canvas):
    canvas.add(square(20, 20, 10), RED)
    painted = canvas.image[..., 0] == 1
    assert np.array_equal(painted, canvas.labels[WHOLE] == 1)
    assert canvas.image[..., 1:].max() == 0


def test_what_is_painted_later_hides_objects_and_their_parts(canvas):
    canvas.add(square(20, 20, 20), RED)
    canvas.add(square(22, 20, 6), BLUE, PART)
    canvas.add(square(26, 20, 12), BLUE)
    assert canvas.labels[WHOLE][20, 26] == 3
    assert canvas.labels[PART][20, 26] == 0
    assert canvas.labels[PART][20, 19] == 2
    assert canvas.labels[WHOLE][20, 12] == 1


def test_a_group_keeps_its_extent_below_what_lies_on_it(canvas):
    canvas.add(square(20, 20, 20), RED, GROUP)
    before = (canvas.labels[GROUP] == 1).sum()
    canvas.add(square(20, 20, 8), BLUE)
    assert (canvas.labels[GROUP] == 1).sum() == before
    assert canvas.image[20, 20].tolist() == [0, 0, 1]


def test_a_group_hides_what_was_there(canvas):
    canvas.add(square(20, 20, 8), BLUE)
    canvas.add(square(20, 20, 20), RED, GROUP)
    assert not canvas.labels[WHOLE].any()


def test_paint_without_truth_leaves_the_labels(canvas):
    canvas.paint(square(20, 20, 8), BLUE)
    assert canvas.image.max() == 1
    assert not canvas.labels.any()


def test_half_opaque_paint_mixes(canvas):
    canvas.paint(square(20, 20, 8), Look(np.ones(3, np.float32), softness=0.0, opacity=0.5))
    assert canvas.image[20, 20].tolist() == [0.5, 0.5, 0.5]


def test_soft_edges_reach_over_the_border(canvas):
    canvas.paint(square(20, 20, 8), Look(np.ones(3, np.float32), softness=1.5))
    assert 0 < canvas.image[20, 14, 0] < 0.5


def test_an_object_outside_the_picture_paints_nothing(canvas):
    canvas.add(square(500, 500, 8), RED)
    assert canvas.image.max() == 0
    assert not canvas.labels.any()


def test_texture_shading_dome_and_rim_change_the_surface(bank):
    plain = {"texture": 0.0, "shading": 0.0, "dome": 0.0, "rim": 0.0}
    for name in plain:
        canvas = Canvas(HW, bank, np.random.default_rng(0))
        grey = np.full(3, 0.5, np.float32)
        canvas.add(square(20, 20, 16), Look(grey, softness=0.0, **(plain | {name: 0.3})))
        assert canvas.image[canvas.labels[WHOLE] == 1].std() > 0.02, name


def test_textures_are_standardised_and_the_same_for_the_same_seed(bank):
    again = TextureBank(0, num_each=1)
    for one, other in zip(bank.textures, again.textures, strict=True):
        assert np.array_equal(one, other)
        assert abs(one.mean()) < 0.15
        assert 0.7 < one.std() < 1.1


def test_crops_larger_than_a_texture_are_mirrored(bank):
    crop = bank.crop((900, 30), np.random.default_rng(0))
    assert crop.shape == (900, 30)
    assert np.isfinite(crop).all()
