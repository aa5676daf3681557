import tracemalloc

import numpy as np
import pytest

from samtune.data.objects import (
    find_objects,
    object_key,
    object_mask,
    split_components,
    stack_layers,
)
from samtune.types import ObjectKey, Sample


def block(rows, columns, hw=(10, 12)):
    mask = np.zeros(hw, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


LEFT, RIGHT, ACROSS = block((1, 4), (1, 4)), block((1, 4), (6, 9)), block((2, 3), (0, 12))


def masks_of(labels):
    return {place.object_id: object_mask(labels, place) for place in find_objects(labels)}


def test_objects_side_by_side_share_a_layer():
    labels = stack_layers([(5, LEFT), (9, RIGHT)], (10, 12))
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, (LEFT * 5 + RIGHT * 9)[None])


def test_objects_that_overlap_lie_on_layers_of_their_own():
    labels = stack_layers([(1, LEFT), (2, ACROSS), (3, RIGHT), (4, ACROSS)], (10, 12))
    assert labels.shape == (3, 10, 12)
    np.testing.assert_array_equal(labels[0], LEFT * 1 + RIGHT * 3)
    np.testing.assert_array_equal(labels[1], ACROSS * 2)
    np.testing.assert_array_equal(labels[2], ACROSS * 4)


def test_no_objects_are_one_empty_layer():
    labels = stack_layers([], (3, 4))
    assert labels.shape == (1, 3, 4)
    assert not labels.any()


def test_an_object_without_pixels_needs_no_layer():
    labels = stack_layers([(1, LEFT), (2, LEFT & RIGHT)], (10, 12))
    assert labels.shape == (1, 10, 12)
    assert list(masks_of(labels)) == [1]


def test_every_stacked_object_comes_back_whole():
    rng = np.random.default_rng(0)
    masks = {number: rng.random((10, 12)) < 0.2 for number in range(1, 9)}
    found = masks_of(stack_layers(masks.items(), (10, 12)))
    assert found.keys() == masks.keys()
    for number, mask in masks.items():
        np.testing.assert_array_equal(found[number], mask)


def test_a_place_has_the_box_the_area_and_the_layer():
    labels = stack_layers([(7, ACROSS), (3, LEFT)], (10, 12))
    first, second = find_objects(labels)
    assert (first.object_id, first.layer, first.area) == (3, 1, 9)
    assert (first.rows, first.columns) == (slice(1, 4), slice(1, 4))
    assert (second.object_id, second.layer, second.area) == (7, 0, 12)
    assert (second.rows, second.columns) == (slice(2, 3), slice(0, 12))


def test_objects_are_in_order_of_their_ids():
    labels = stack_layers([(30, LEFT), (4, RIGHT), (12, ACROSS)], (10, 12))
    assert [place.object_id for place in find_objects(labels)] == [4, 12, 30]


@pytest.mark.parametrize(("min_area", "expected"), [(1, [1, 2]), (9, [1, 2]), (10, [2])])
def test_small_objects_are_left_out(min_area, expected):
    labels = stack_layers([(1, LEFT), (2, ACROSS)], (10, 12))
    assert [place.object_id for place in find_objects(labels, min_area)] == expected


@pytest.mark.parametrize("largest", [65_536, 999_999, 1_000_001, 0xFFFFFF])
def test_large_ids_are_found_with_their_own_number(largest):
    labels = stack_layers([(2, LEFT), (largest, RIGHT)], (10, 12))
    found = masks_of(labels)
    assert list(found) == [2, largest]
    np.testing.assert_array_equal(found[largest], RIGHT)
    assert [place.area for place in find_objects(labels)] == [9, 9]


def test_a_large_id_costs_no_memory():
    labels = stack_layers([(2, LEFT), (0xFFFFFF, RIGHT)], (10, 12))
    tracemalloc.start()
    find_objects(labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_an_image_without_objects_has_none():
    assert find_objects(np.zeros((1, 4, 5), np.int32)) == []
    assert find_objects(np.zeros((0, 4, 5), np.int32)) == []


def test_neighbours_in_an_objects_box_are_no_part_of_it():
    ring = block((1, 6), (1, 6)) & ~block((2, 5), (2, 5))
    labels = stack_layers([(1, ring), (2, block((3, 4), (3, 4)))], (10, 12))
    np.testing.assert_array_equal(masks_of(labels)[1], ring)


def test_a_key_names_image_object_and_class():
    labels = stack_layers([(4, LEFT), (5, RIGHT)], (10, 12))
    sample = Sample("a", np.zeros((10, 12, 3), np.uint8), labels, {4: "road"})
    keys = [object_key(sample, place) for place in find_objects(labels)]
    assert keys == [ObjectKey("a", 4, "road"), ObjectKey("a", 5, "")]


def test_parts_become_objects_with_the_class_of_the_whole():
    labels = stack_layers([(7, LEFT | RIGHT), (9, block((6, 8), (2, 4)))], (10, 12))
    parts, classes = split_components(labels, {7: "road", 9: "roof"})
    found = masks_of(parts)
    assert classes == {1: "road", 2: "road", 3: "roof"}
    np.testing.assert_array_equal(found[1], LEFT)
    np.testing.assert_array_equal(found[2], RIGHT)
    np.testing.assert_array_equal(found[3], block((6, 8), (2, 4)))


def test_pixels_that_touch_at_a_corner_are_one_part():
    diagonal = np.eye(5, dtype=np.int32)[None]
    parts, classes = split_components(diagonal, {})
    np.testing.assert_array_equal(parts, diagonal)
    assert classes == {1: ""}


def test_parts_of_overlapping_objects_stay_apart():
    labels = stack_layers([(1, LEFT), (2, ACROSS)], (10, 12))
    found = masks_of(split_components(labels, {})[0])
    np.testing.assert_array_equal(found[1], LEFT)
    np.testing.assert_array_equal(found[2], ACROSS)


def test_nothing_has_no_parts():
    parts, classes = split_components(np.zeros((1, 4, 5), np.int32), {})
    assert parts.shape == (1, 4, 5)
    assert not parts.any()
    assert classes == {}
