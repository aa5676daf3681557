"""What is told of images of which hardly anything is to be seen."""

import logging

import numpy as np
import pytest
import tifffile
from PIL import Image

from samtune.images.pixels import read_image
from samtune.reading import Reading

VALUES = np.tile(np.linspace(500, 2600, 64), (48, 1))


@pytest.mark.parametrize(
    ("dtype", "scale", "share"),
    [(np.uint16, 1, 3), (np.float32, 1, 0), (np.float32, -0.01, 0), (np.int16, -1, 0)],
)
def test_an_image_that_comes_out_black_or_white_is_told_once_a_folder(
    tmp_path, caplog, dtype, scale, share
):
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, (VALUES * scale).astype(dtype))
    with caplog.at_level(logging.WARNING):
        read_image(tmp_path / "a.tif")
        read_image(tmp_path / "b.tif")
    assert len(caplog.messages) == 1
    assert f"a.tif holds {np.dtype(dtype)} values" in caplog.text
    assert f"use {share} % of the brightness" in caplog.text
    assert "--reading.stretch" in caplog.text


@pytest.mark.parametrize("stretched", [{"stretch": "auto"}, {"value_range": (0, 3000)}])
def test_one_that_is_stretched_is_not(tmp_path, caplog, stretched):
    tifffile.imwrite(tmp_path / "a.tif", VALUES.astype(np.uint16))
    Reading(**stretched).read(tmp_path / "a.tif")
    assert not caplog.messages


def test_neither_is_one_of_8_bits_nor_an_even_one(tmp_path, caplog):
    Image.fromarray((VALUES / 100).astype(np.uint8)).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", np.full((48, 64), 700, np.uint16))
    read_image(tmp_path / "a.png")
    read_image(tmp_path / "b.tif")
    assert not caplog.messages
