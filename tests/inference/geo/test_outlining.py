"""Outlines that are given out row by row are those of all at once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from samtune.inference.geo.outlining import trace_objects
from samtune.inference.geo.polygons import outline_parts, simplify_together
from samtune.types import Window

shapely = pytest.importorskip("shapely")
pytest.importorskip("rasterio")


def make_labels(seed, hw, num_classes, smoothness):
    """Blobs that touch one another, with holes, islands and gaps."""
    noise = np.random.default_rng(seed).random((num_classes, *hw))
    smooth = ndimage.gaussian_filter(noise, (0, smoothness, smoothness))
    blobs = smooth.argmax(0)
    labels, count = np.zeros(hw, np.int32), 0
    for value in range(1, num_classes):  # 0 stays empty
        parts, found = ndimage.label(blobs == value)
        labels = np.where(parts > 0, parts + count, labels).astype(np.int32)
        count += found
    return labels, count


def cut(labels, side):
    """Rows of windows, as the cells of a grid come."""
    height, width = labels.shape
    for y in range(0, height, side):
        for x in range(0, width, side):
            part = labels[y : y + side, x : x + side]
            yield Window(y, x, *part.shape), np.ascontiguousarray(part)


def last_rows(labels):
    return np.array([s[0].stop - 1 for s in ndimage.find_objects(labels)], np.int64)


def traced(labels, side, tolerance):
    found = {}
    for batch in trace_objects(cut(labels, side), last_rows(labels), tolerance):
        for number, outline, simple in zip(
            batch.numbers, batch.outlines, batch.simple, strict=True
        ):
            assert number not in found
            found[int(number)] = outline, simple
    return found


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([16, 25, 40]), st.sampled_from([0.0, 1.0, 3.0]))
def test_row_by_row_or_at_once_is_the_same(seed, side, tolerance):
    labels, count = make_labels(seed, (90, 70), 5, 3)
    count -= count // 4
    # some are of two parts, wherever they lie
    labels = np.where(labels > 0, (labels - 1) % count + 1, 0).astype(np.int32)
    outlines = np.empty(count, object)
    for number in range(1, count + 1):
        mask = np.where(labels == number, np.int32(1), np.int32(0))
        parts = [part for _, part in outline_parts(Window(0, 0, 90, 70), mask)]
        outlines[number - 1] = shapely.union_all(parts)
    simple = simplify_together(outlines, tolerance)
    found = traced(labels, side, tolerance)
    assert sorted(found) == list(range(1, count + 1))
    for number, (outline, _) in found.items():
        assert shapely.equals(outline, outlines[number - 1])
    given = np.array([found[number][1] for number in range(1, count + 1)])
    # GEOS's own guard against crossings looks at all that is near: in rare cases it acts otherwise
    together = shapely.union_all(given)
    assert shapely.area(given).sum() == pytest.approx(shapely.area(together), abs=1e-6)
    apart = shapely.symmetric_difference(together, shapely.union_all(simple))
    assert shapely.area(apart) <= 0.01 * shapely.area(together)


def test_neither_overlaps_nor_gaps_between_objects_of_different_rows():
    y, x = np.mgrid[:120, :60]
    labels = (1 + (x + 3 * np.sin(y / 4) > 30) + 2 * (y + 3 * np.cos(x / 5) > 58)).astype(np.int32)
    found = traced(labels, 20, 2.0)
    simple = np.array([simplified for _, simplified in found.values()])
    corners = [
        sum(len(shapely.get_coordinates(pair[i])) for pair in found.values()) for i in (0, 1)
    ]
    assert corners[1] < corners[0] / 3
    together = shapely.union_all(simple)
    assert shapely.area(together) == pytest.approx(shapely.area(simple).sum())
    assert not any(len(part.interiors) for part in shapely.get_parts(together))


def test_an_object_of_parts_far_apart_is_one():
    labels = np.zeros((100, 20), np.int32)
    labels[2:8, 2:8] = labels[80:90, 4:9] = 1
    labels[30:40, 2:8] = 2
    outline, _ = traced(labels, 20, 1.0)[1]
    assert shapely.get_num_geometries(outline) == 2
    assert shapely.area(outline) == 36 + 50


def test_complete_objects_do_not_wait():
    labels = np.zeros((100, 20), np.int32)
    labels[2:8, 2:8], labels[30:70, 2:8], labels[90:95, 3:5] = 1, 2, 3
    batches = [b.numbers.tolist() for b in trace_objects(cut(labels, 20), last_rows(labels), 1.0)]
    assert batches == [[1], [], [], [2], [], [3]]


def test_nothing_is_one_empty_batch_a_row():
    batches = list(trace_objects(cut(np.zeros((20, 20), np.int32), 20), np.zeros(0, int), 1.0))
    assert [len(batch.numbers) for batch in batches] == [0, 0]
