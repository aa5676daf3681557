import numpy as np
import pytest
import torch
from PIL import Image

from samtune.images.preprocess import resize_to_frame, to_pixel_values
from samtune.types import InputFrame

MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("hw", "resized"), [((30, 40), (48, 64)), ((333, 200), (64, 38)), ((64, 64), (64, 64))]
)
def test_resizing_is_pillows_bilinear(hw, resized):
    image = noise(*hw)
    size = (resized[1], resized[0])
    expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    found = resize_to_frame(image, InputFrame(64)).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("hw", [(30, 40), (40, 30), (100, 100)])
def test_pixel_values_are_resized_normalised_and_padded_with_zero(hw):
    image = noise(*hw)
    values = to_pixel_values(image, InputFrame(64))
    resized = resize_to_frame(image, InputFrame(64)).permute(1, 2, 0).numpy()
    height, width = resized.shape[:2]
    expected = torch.from_numpy((resized - MEAN) / STD).permute(2, 0, 1).float()
    assert (values.shape, values.dtype) == ((3, 64, 64), torch.float32)
    torch.testing.assert_close(values[:, :height, :width], expected)
    assert (values[:, height:] == 0).all()
    assert (values[:, :, width:] == 0).all()


def test_the_mean_colour_becomes_zero_and_one_deviation_one():
    image = np.full((8, 8, 3), [124, 116, 104], np.uint8)
    values = to_pixel_values(image, InputFrame(8))
    expected = [0.325 / 58.395, -0.28 / 57.12, 0.47 / 57.375]
    torch.testing.assert_close(values[:, 3, 3], torch.tensor(expected))


def test_preprocessing_leaves_the_image_alone():
    image = noise(20, 30)
    to_pixel_values(image, InputFrame(64))
    np.testing.assert_array_equal(image, noise(20, 30))


def test_without_padding_both_sides_are_stretched_by_torch_s_antialiased_filter():
    """As torchvision's `Resize((side, side))` on floats, which sam2's transforms use."""
    image = noise(30, 100)
    frame = InputFrame(64, keeps_aspect=False, mean=(127.5,) * 3, std=(127.5,) * 3)
    floats = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    resized = torch.nn.functional.interpolate(floats, (64, 64), mode="bilinear", antialias=True)
    torch.testing.assert_close(to_pixel_values(image, frame), resized[0] * 2 - 1, atol=1e-5, rtol=0)
