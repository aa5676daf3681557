"""Answers without a network, on shapes for which they are right or wrong by construction."""

import numpy as np
import pytest

from samtune.commands.flags import parse

SIDE = 64
BOX = np.array([16, 20, 47, 43], np.float32)
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
RECTANGLE = (ROWS >= 20) & (ROWS <= 43) & (COLUMNS >= 16) & (COLUMNS <= 47)
ELLIPSE = ((COLUMNS - 31.5) / 16) ** 2 + ((ROWS - 31.5) / 12) ** 2 <= 1
CENTRE = np.array([31, 31], np.float32)


@pytest.fixture(scope="module")
def trivial(load_script):
    return load_script("trivial_baselines")


def paint(mask, inside=200, outside=50):
    noise = np.random.default_rng(0).normal(0, 4, mask.shape)
    return (np.where(mask, inside, outside) + noise).astype(np.float32)


def test_a_filled_box_is_the_rectangle(trivial):
    assert np.array_equal(trivial.filled_box(paint(RECTANGLE), BOX), RECTANGLE)


def test_the_ellipse_touches_the_four_sides_of_the_box(trivial):
    found = trivial.ellipse(paint(ELLIPSE), BOX)
    assert trivial.iou(found, ELLIPSE) > 0.99
    assert not (found & ~RECTANGLE).any()


@pytest.mark.parametrize(("inside", "outside"), [(200, 50), (50, 200)])
def test_otsu_finds_what_is_bright_and_what_is_dark(trivial, inside, outside):
    found = trivial.otsu_in_box(paint(ELLIPSE, inside, outside), BOX)
    assert trivial.iou(found, ELLIPSE) > 0.99


def test_otsu_of_a_plain_box_is_the_box(trivial):
    assert np.array_equal(trivial.otsu_in_box(np.zeros((SIDE, SIDE), np.float32), BOX), RECTANGLE)


def test_flood_fill_and_walker_find_the_object_under_the_point(trivial):
    grey = paint(ELLIPSE)
    assert trivial.iou(trivial.flood_fill(grey, CENTRE, 0.2), ELLIPSE) > 0.95
    assert trivial.iou(trivial.walker(grey, CENTRE), ELLIPSE) > 0.95


def test_every_object_is_measured_by_every_method(trivial, discs, capsys):
    arguments = ["--data.path", str(discs), "--max_images", "1"]
    assert trivial.main(**parse(trivial.main, "trivial_baselines", arguments, {})) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[1].split(" (")[0] for row in rows] == [
        "box filled", "ellipse in the box", "Otsu in the box", "flood fill", "random walker",
    ]  # fmt: skip
    assert {row[3].strip(" |") for row in rows} == {rows[0][3].strip(" |")}
    scores = {row[1]: float(row[2]) for row in rows}
    assert scores["Otsu in the box"] > 0.9 > scores["box filled"]
    assert scores["ellipse in the box"] > scores["box filled"]
