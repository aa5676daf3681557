"""Windows around objects, in use and in training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samtune.types import Window
from samtune.windows import FOUND, GIVEN, closer_window, drawn_window, longer_side, window_near


@st.composite
def boxes(draw):
    """An image's size, and an inclusive box in it."""
    hw = draw(st.tuples(st.integers(1, 900), st.integers(1, 900)))
    y0, x0 = (draw(st.integers(0, side - 1)) for side in hw)
    y1, x1 = draw(st.integers(y0, hw[0] - 1)), draw(st.integers(x0, hw[1] - 1))
    return hw, np.float32([x0, y0, x1, y1])


def is_inside(window, hw):
    return (
        0 <= window.y <= hw[0] - window.height
        and 0 <= window.x <= hw[1] - window.width
        and min(window.hw) > 0
    )


@given(boxes(), st.integers(8, 64), st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_a_drawn_window_lies_in_the_image_around_the_whole_object(case, tokens, seed):
    hw, box = case
    window = drawn_window(box, hw, tokens, np.random.default_rng(seed))
    assert is_inside(window, hw)
    assert window.holds(box)
    assert max(window.hw) <= max(33, 2 * FOUND.ratio(tokens) * longer_side(box) + 1)


@given(boxes(), st.integers(8, 64), st.sampled_from([FOUND, GIVEN]))
@settings(max_examples=200, deadline=None)
def test_a_closer_window_holds_the_object_and_is_closer(case, tokens, closeness):
    hw, box = case
    window = closer_window(box, Window(0, 0, *hw), hw, tokens, closeness)
    if window is None:
        return
    assert is_inside(window, hw)
    assert window.holds(box)
    side = max(window.hw)
    assert side <= closeness.worth * max(hw) * np.sqrt(2) + 1
    assert side >= min(max(hw), closeness.ratio(tokens) * longer_side(box)) - 1


def test_a_large_object_has_no_closer_window():
    box, whole = np.float32([0, 0, 99, 99]), Window(0, 0, 256, 256)
    assert closer_window(box, whole, (256, 256), 16, GIVEN) is None


def test_a_box_is_looked_at_more_closely_than_what_a_point_found():
    box, whole = np.float32([200, 200, 219, 219]), Window(0, 0, 512, 512)
    given, found = (closer_window(box, whole, (512, 512), 16, how) for how in (GIVEN, FOUND))
    assert max(given.hw) == 64  # of 53 at least: the object's side by 16 / 6
    assert max(found.hw) == 91  # of 80 at least


def test_neighbours_of_a_size_share_a_window():
    whole = Window(0, 0, 512, 512)
    one = closer_window(np.float32([200, 200, 219, 219]), whole, (512, 512), 16, FOUND)
    other = closer_window(np.float32([205, 210, 223, 227]), whole, (512, 512), 16, FOUND)
    assert one == other


def test_the_same_draw_gives_the_same_window():
    box = np.float32([40, 50, 70, 60])
    drawn = [drawn_window(box, (300, 400), 16, np.random.default_rng(3)) for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_drawn_windows_have_sizes_of_all_kinds():
    box, rng = np.float32([300, 300, 319, 311]), np.random.default_rng(0)
    ratios = [max(drawn_window(box, (900, 900), 16, rng).hw) / 20 for _ in range(400)]
    assert min(ratios) < 1.8
    assert max(ratios) > 7
    assert 2.8 < np.median(ratios) < 3.8  # half of them below the middle of the logarithm


@pytest.mark.parametrize("hw", [(300, 400), (50, 400), (300, 20), (64, 64)])
def test_windows_near_a_place_hold_it(hw):
    for x in (0, 17, hw[1] // 2, hw[1] - 1):
        for y in (0, 11, hw[0] // 2, hw[0] - 1):
            window = window_near((x, y), 64, hw)
            assert is_inside(window, hw)
            assert window.holds(np.float32([x, y, x, y]))
            assert window.hw == (min(64, hw[0]), min(64, hw[1]))
