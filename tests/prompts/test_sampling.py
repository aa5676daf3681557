import numpy as np
import pytest

from samtune.prompts.sampling import (
    MASK_PROMPT_LOGIT,
    centre_point,
    mask_prompt,
    negative_points,
    object_box,
    positive_points,
    thickest_pixel,
    uniform_point,
)
from samtune.types import InputFrame

GRID = InputFrame(64).grid(64)

EMPTY = np.zeros((8, 9), bool)


def block(hw, rows, columns):
    mask = np.zeros(hw, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def is_in(mask, point):
    x, y = point
    return bool(mask[int(y), int(x)])


def shifts(mask, noise, count, seed=0, scale=0.1):
    """(count, 4) moves of the box sides."""
    rng = np.random.default_rng(seed)
    exact = object_box(mask, "exact", rng)
    return np.array([object_box(mask, noise, rng, scale) - exact for _ in range(count)])


def test_points_lie_in_the_mask(mask, rng):
    points = [uniform_point(mask, rng) for _ in range(50)]
    points += [centre_point(mask), thickest_pixel(mask)[0]]
    points += list(positive_points(mask, 5, "uniform", rng))
    points += list(positive_points(mask, 5, "centre", rng))
    assert all(is_in(mask, point) for point in points)


def test_negative_points_lie_outside_the_mask(mask, rng):
    points = negative_points(mask, 20, rng)
    assert len(points) == (0 if mask.all() else 20)
    assert not any(is_in(mask, point) for point in points)


@pytest.mark.parametrize("place", [(17, 33), (0, 0), (39, 59)])
def test_an_object_of_one_pixel_has_it_as_every_point_and_as_its_box(place, rng):
    row, column = place
    mask = block((40, 60), (row, row + 1), (column, column + 1))
    assert uniform_point(mask, rng) == (column, row)
    assert centre_point(mask) == (column, row)
    assert positive_points(mask, 2, "centre", rng).tolist() == [[column, row]] * 2
    assert object_box(mask, "exact", rng).tolist() == [column, row, column, row]


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: uniform_point(EMPTY, rng),
        lambda rng: centre_point(EMPTY),
        lambda rng: thickest_pixel(EMPTY),
        lambda rng: positive_points(EMPTY, 1, "uniform", rng),
        lambda rng: positive_points(EMPTY, 1, "centre", rng),
        lambda rng: negative_points(EMPTY, 1, rng),
        lambda rng: object_box(EMPTY, "exact", rng),
        lambda rng: object_box(EMPTY, "gaussian", rng),
        lambda rng: object_box(EMPTY, "uniform", rng),
        lambda rng: object_box(EMPTY, "outward", rng),
        lambda rng: mask_prompt(EMPTY, "coarse", rng, GRID),
        lambda rng: mask_prompt(EMPTY, "noised", rng, GRID),
    ],
)
def test_an_empty_mask_has_no_prompt(draw, rng):
    with pytest.raises(ValueError, match="the mask is empty: it has no prompt"):
        draw(rng)


def test_every_pixel_is_equally_likely(rng):
    mask = block((10, 10), (0, 1), (0, 3)) | block((10, 10), (9, 10), (9, 10))
    drawn = [uniform_point(mask, rng) for _ in range(4000)]
    for place in [(0, 0), (1, 0), (2, 0), (9, 9)]:
        assert drawn.count(place) == pytest.approx(1000, abs=5 * 27.4)


@pytest.mark.parametrize(
    ("mask", "centre", "thickness"),
    [
        (block((20, 20), (3, 8), (6, 11)), (8, 5), 3.0),
        (block((20, 20), (0, 5), (0, 5)), (2, 2), 3.0),
        (block((20, 20), (15, 20), (0, 20)), (2, 17), 3.0),
        (block((20, 20), (4, 5), (9, 10)), (9, 4), 1.0),
        (block((20, 20), (1, 4), (1, 4)) | block((20, 20), (10, 17), (8, 15)), (11, 13), 4.0),
        (np.ones((9, 9), bool), (4, 4), 5.0),
    ],
    ids=["inside", "in the corner", "along the border", "one pixel", "two parts", "whole image"],
)
def test_the_centre_is_the_pixel_farthest_from_the_edge(mask, centre, thickness):
    assert thickest_pixel(mask) == (centre, thickness)
    assert centre_point(mask) == centre


def test_the_first_of_equally_thick_pixels_in_reading_order_is_the_centre():
    assert centre_point(block((9, 9), (2, 4), (3, 6))) == (3, 2)


def test_the_centre_of_a_ring_lies_on_the_ring():
    rows, columns = np.mgrid[:41, :41] - 20
    distance = np.hypot(rows, columns)
    ring = (distance < 18) & (distance > 10)
    x, y = centre_point(ring)
    assert 12 < np.hypot(x - 20, y - 20) < 16


@pytest.mark.parametrize("count", [0, 1, 4])
@pytest.mark.parametrize("placing", ["uniform", "centre"])
def test_as_many_positive_points_as_asked(count, placing, rng):
    points = positive_points(block((20, 20), (3, 8), (6, 11)), count, placing, rng)
    assert points.shape == (count, 2)
    assert points.dtype == np.float32


def test_the_first_of_centred_points_is_the_centre_and_the_others_vary(rng):
    mask = block((40, 40), (3, 34), (6, 37))
    drawn = np.array([positive_points(mask, 2, "centre", rng) for _ in range(20)])
    assert (drawn[:, 0] == centre_point(mask)).all()
    assert len(np.unique(drawn[:, 1], axis=0)) > 10


def test_negative_points_lie_within_a_quarter_of_the_side_around_the_box(rng):
    mask = block((100, 100), (40, 48), (50, 70))
    points = negative_points(mask, 500, rng)
    assert points.min(axis=0).tolist() == [45, 38]
    assert points.max(axis=0).tolist() == [74, 49]


def test_a_whole_image_has_no_negative_point(rng):
    assert negative_points(np.ones((5, 6), bool), 3, rng).shape == (0, 2)


@pytest.mark.parametrize("noise", ["exact", "gaussian", "uniform", "outward"])
def test_a_box_lies_in_the_image_and_is_never_inverted(mask, noise, rng):
    boxes = np.array([object_box(mask, noise, rng, scale=0.5) for _ in range(100)])
    assert boxes.dtype == np.float32
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 59
    assert boxes[:, 3].max() <= 39
    assert (boxes[:, :2] <= boxes[:, 2:]).all()


def test_an_exact_box_is_inclusive(rng):
    box = object_box(block((40, 60), (3, 10), (20, 50)), "exact", rng)
    assert box.tolist() == [20, 3, 49, 9]


def test_uniform_noise_stays_within_a_tenth_of_each_side():
    moves = np.abs(shifts(block((1024, 1024), (500, 550), (300, 400)), "uniform", 500))
    assert moves[:, [0, 2]].max() == pytest.approx(10, abs=0.2)
    assert moves[:, [1, 3]].max() == pytest.approx(5, abs=0.1)
    assert (moves.max(axis=0) <= [10.001, 5.001, 10.001, 5.001]).all()


@pytest.mark.parametrize(("size", "limit"), [(1024, 20), (512, 10), (2048, 40)])
def test_no_side_moves_more_than_20_pixels_of_a_1024_input(size, limit):
    mask = block((size, size // 2), (size // 4, size * 3 // 4), (size // 8, size * 3 // 8))
    for noise in ("uniform", "gaussian", "outward"):
        moves = np.abs(shifts(mask, noise, 200))
        assert moves.max() == pytest.approx(limit, rel=0.01)


def test_gaussian_noise_has_a_tenth_of_each_side_as_its_sigma():
    moves = shifts(block((1024, 1024), (500, 540), (300, 350)), "gaussian", 3000)
    assert moves[:, [0, 2]].std() == pytest.approx(5, rel=0.05)
    assert moves[:, [1, 3]].std() == pytest.approx(4, rel=0.05)
    assert np.abs(moves.mean(axis=0)).max() < 0.4


def test_the_scale_of_the_noise_can_be_set():
    moves = shifts(block((1024, 1024), (500, 600), (300, 400)), "uniform", 300, scale=0.02)
    assert np.abs(moves).max() == pytest.approx(2, rel=0.02)


def test_the_sides_of_a_box_move_independently():
    moves = shifts(block((1024, 1024), (500, 600), (300, 400)), "uniform", 2000)
    correlation = np.corrcoef(moves.T) - np.eye(4)
    assert np.abs(correlation).max() < 0.1


def test_outward_noise_only_grows_the_box_by_up_to_20_pixels():
    moves = shifts(block((1024, 1024), (500, 540), (300, 350)), "outward", 1000)
    grown = moves * [-1, -1, 1, 1]
    assert grown.min() >= 0
    assert grown.max() == pytest.approx(20, abs=0.2)
    assert grown.mean() == pytest.approx(10, abs=0.5)


@pytest.mark.parametrize("noise", ["coarse", "noised"])
def test_a_mask_prompt_is_logits_with_background_where_the_image_is_padded(mask, noise, rng):
    logits = mask_prompt(mask, noise, rng, GRID)
    assert logits.shape == (64, 64)
    assert logits.dtype == np.float32
    assert np.abs(logits).max() <= MASK_PROMPT_LOGIT
    assert (logits[52:] == -MASK_PROMPT_LOGIT).all()


@pytest.mark.parametrize("noise", ["coarse", "noised"])
def test_the_strongest_logit_of_a_mask_prompt_lies_at_the_object(mask, noise, rng):
    logits = mask_prompt(mask, noise, rng, GRID)
    y, x = np.unravel_index(np.argmax(logits), logits.shape)
    rows, columns = np.nonzero(mask)
    assert np.hypot(rows * 64 / 60 - y, columns * 64 / 60 - x).min() <= 9


@pytest.mark.parametrize("noise", ["coarse", "noised"])
def test_a_mask_prompt_of_any_object_is_not_empty(mask, noise, rng):
    assert min(mask_prompt(mask, noise, rng, GRID).max() for _ in range(20)) > 0


def test_a_coarse_mask_prompt_is_exact_for_whole_cells(rng):
    logits = mask_prompt(block((64, 64), (16, 40), (8, 32)), "coarse", rng, GRID)
    assert (logits[20:36, 12:28] == 8).all()
    assert (logits[:12] == -8).all()
    assert (logits[:, 36:] == -8).all()


def test_a_coarse_mask_prompt_forgets_what_a_cell_looks_like(rng):
    dots, bar = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    dots[16:24:2, 16:24:2] = True
    bar[16:18, 16:24] = True
    np.testing.assert_array_equal(
        mask_prompt(dots, "coarse", rng, GRID), mask_prompt(bar, "coarse", rng, GRID)
    )


@pytest.mark.parametrize("seed", range(10))
def test_a_noised_mask_prompt_moves_and_grows_a_little(seed):
    logits = mask_prompt(
        block((64, 64), (20, 40), (24, 44)), "noised", np.random.default_rng(seed), GRID
    )
    rows, columns = np.nonzero(logits > 0)
    assert abs(rows.mean() - 29.5) <= 2.5
    assert abs(columns.mean() - 33.5) <= 2.5
    assert 13**2 <= len(rows) <= 27**2


def test_noised_mask_prompts_differ_from_draw_to_draw(rng):
    mask = block((64, 64), (20, 40), (24, 44))
    drawn = {mask_prompt(mask, "noised", rng, GRID).tobytes() for _ in range(10)}
    assert len(drawn) == 10
