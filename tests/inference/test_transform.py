"""The transform beside the predictor: segment_anything's `ResizeLongestSide`, to the number."""

import numpy as np
import pytest
import torch

from samtune.inference.transform import ResizeLongestSide

TO_1024 = ResizeLongestSide(1024)
POINTS = np.array([[[0.0, 0.0], [100.0, 50.0]], [[199.0, 149.0], [10.5, 20.25]]])


@pytest.mark.parametrize(
    ("hw", "side", "expected"),
    [
        ((150, 200), 1024, (768, 1024)),
        ((200, 150), 1024, (1024, 768)),
        ((1024, 1024), 1024, (1024, 1024)),
        ((333, 1000), 1024, (341, 1024)),  # 340.99 is rounded up
        ((3000, 1001), 256, (256, 85)),  # 85.4 is rounded down
        ((1, 3), 5, (2, 5)),  # 1.67
        ((1, 5000), 256, (1, 256)),  # never nothing
    ],
)
def test_the_longest_side_is_the_target_and_the_other_rounded(hw, side, expected):
    assert ResizeLongestSide.get_preprocess_shape(*hw, side) == expected


def test_an_image_gets_that_size():
    image = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    resized = ResizeLongestSide(64).apply_image(image)
    assert (resized.shape, resized.dtype) == ((48, 64, 3), np.uint8)


def test_points_are_scaled_by_the_ratio_of_the_sizes_and_not_changed_in_place():
    before = POINTS.copy()
    found = TO_1024.apply_coords(POINTS, (150, 200))
    np.testing.assert_allclose(found, POINTS * 5.12, rtol=1e-6)
    np.testing.assert_array_equal(POINTS, before)


def test_each_axis_has_its_own_ratio():
    found = TO_1024.apply_coords(np.array([[999.0, 332.0]]), (333, 1000))
    np.testing.assert_allclose(found, [[999 * 1024 / 1000, 332 * 341 / 333]], rtol=1e-6)


def test_boxes_are_scaled_as_their_corners():
    boxes = np.array([[1.0, 2.0, 30.0, 40.0], [0.0, 0.0, 999.0, 332.0]])
    corners = TO_1024.apply_coords(boxes.reshape(2, 2, 2), (333, 1000))
    np.testing.assert_array_equal(TO_1024.apply_boxes(boxes, (333, 1000)), corners.reshape(2, 4))


def test_tensors_are_scaled_as_arrays():
    tensor = torch.from_numpy(POINTS)
    found = TO_1024.apply_coords_torch(tensor, (150, 200))
    assert found.shape == tensor.shape
    np.testing.assert_allclose(found, TO_1024.apply_coords(POINTS, (150, 200)), rtol=1e-6)
    boxes = torch.tensor([[1, 2, 30, 40]])
    np.testing.assert_allclose(
        TO_1024.apply_boxes_torch(boxes, (333, 1000)),
        TO_1024.apply_boxes(boxes.numpy(), (333, 1000)),
        rtol=1e-6,
    )
