"""TIFFs as microscopes and maps write them: compressions, several pages, and what is only shown."""

import struct
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from PIL import Image

from samtune.errors import UserError
from samtune.images.labels import read_labels
from samtune.images.pixels import image_hw, read_image, read_pixels

ROWS, COLUMNS = 20, 24
# Three bands that no mix-up of bands, planes or bytes leaves as they are
BANDS = np.stack([
    np.full((ROWS, COLUMNS), 1000), np.tile(np.arange(COLUMNS) * 100, (ROWS, 1)),
    np.tile(np.arange(ROWS)[:, None] * 150, (1, COLUMNS)),
], axis=2)  # fmt: skip
OBJECTS = np.zeros((ROWS, COLUMNS), np.uint16)
OBJECTS[2:8, 3:9], OBJECTS[10:15, 12:20], OBJECTS[16:19, 2:6] = 1, 2, 3


def write(path, pixels, **options):
    tifffile.imwrite(path, pixels, **options)
    return path


@pytest.mark.parametrize("compression", ["lzw", "zstd", "zlib", "packbits", "lzma"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("layout", ["contig", "separate"])
def test_every_compression_gives_the_values_that_were_stored(tmp_path, compression, dtype, layout):
    pixels = (BANDS // 16).astype(dtype) if dtype == np.uint8 else BANDS.astype(dtype)
    stored = pixels if layout == "contig" else np.moveaxis(pixels, 2, 0)
    options = {"compression": compression, "photometric": "rgb", "planarconfig": layout}
    found = read_pixels(write(tmp_path / "a.tif", stored, **options))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("compression", ["lzw", "zlib"])
@pytest.mark.parametrize(("dtype", "predictor"), [(np.uint16, 2), (np.float32, 3)])
def test_predictors_are_undone(tmp_path, compression, dtype, predictor):
    options = {"compression": compression, "predictor": predictor, "photometric": "rgb"}
    path = write(tmp_path / "a.tif", BANDS.astype(dtype), **options)
    np.testing.assert_array_equal(read_pixels(path), BANDS.astype(dtype))


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_all_channels_of_a_compressed_file_are_there(tmp_path, channels):
    pixels = np.repeat(BANDS[..., :1], channels, axis=2).astype(np.uint16) + np.arange(
        channels, dtype=np.uint16
    )
    options = {"compression": "lzw", "photometric": "minisblack", "planarconfig": "contig"}
    path = write(tmp_path / "a.tif", pixels, **options)
    np.testing.assert_array_equal(read_pixels(path), pixels)
    red = read_image(path, bands=[channels - 1], value_range=(0, 65535))
    assert red[0, 0, 0] == round((1000 + channels - 1) * 255 / 65535)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_labels_are_numbers_whatever_is_shown_as_white(tmp_path, dtype, compression):
    labels = OBJECTS.astype(dtype)
    path = write(tmp_path / "a.tif", labels, photometric="miniswhite", compression=compression)
    np.testing.assert_array_equal(read_labels(path), labels)
    # an image is shown as its file says: the lowest value is the lightest
    assert read_pixels(path)[0, 0, 0] > read_pixels(path)[3, 4, 0]


@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
def test_one_bit_labels_are_0_and_1(tmp_path, photometric):
    path = write(tmp_path / "a.tif", OBJECTS > 0, photometric=photometric)
    np.testing.assert_array_equal(read_labels(path), OBJECTS > 0)


def test_one_bit_labels_in_png_are_0_and_1(tmp_path):
    Image.fromarray(OBJECTS > 0).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), OBJECTS > 0)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_of_a_palette_labels_have_the_numbers_and_images_the_colours(tmp_path, bits, compression):
    table = np.random.default_rng(0).integers(0, 256, (3, 2**bits)).astype(np.uint16) * 257
    indices = OBJECTS.astype(np.uint8 if bits == 8 else np.uint16)
    options = {"photometric": "palette", "colormap": table, "compression": compression}
    path = write(tmp_path / "a.tif", indices, **options)
    np.testing.assert_array_equal(read_labels(path), OBJECTS)
    np.testing.assert_array_equal(read_image(path), (table >> 8).T[indices])


def test_pages_are_channels_only_where_channels_are_chosen(tmp_path):
    pages = np.moveaxis(BANDS[..., :2], 2, 0).astype(np.uint16)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pages, metadata={"axes": "CYX"}, photometric="minisblack")
    told = r"TIFF of 2 pages of 24x20 pixels.*data\.bands, such as \[0\] or \[0, 1\]"
    with pytest.raises(UserError, match=told):
        read_image(path)
    second = read_image(path, bands=[1], value_range=(0, 2550))
    np.testing.assert_array_equal(second[0, :, 0], np.arange(COLUMNS) * 10)
    with pytest.raises(UserError, match="TIFF of 2 pages"):
        read_labels(path)
    assert image_hw(path) == (ROWS, COLUMNS)


def test_a_stack_in_z_is_no_picture_whatever_is_chosen(tmp_path):
    stack = np.zeros((5, ROWS, COLUMNS), np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"})
    for bands in (None, [0]):
        with pytest.raises(UserError, match=r"TIFF of 5 pages \(axes ZYX: 5 x 20 x 24\).*a volume"):
            read_image(path, bands)


def test_of_several_pictures_the_one_whose_copies_the_others_are(tmp_path):
    """A thumbnail may come first."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(OBJECTS[::2, ::2])
        file.write(OBJECTS)
    np.testing.assert_array_equal(read_pixels(path)[..., 0], OBJECTS)
    np.testing.assert_array_equal(read_labels(path), OBJECTS)
    assert image_hw(path) == (ROWS, COLUMNS)


@pytest.mark.parametrize("read", [read_image, read_labels, image_hw])
def test_two_pictures_of_one_size_are_not_taken_for_the_first(tmp_path, read):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(OBJECTS)
        file.write(OBJECTS.astype(np.uint8))
    told = r"TIFF of 2 pictures \(24x20 uint16, 24x20 uint8\); expected one: save the one"
    with pytest.raises(UserError, match=told):
        read(path)


def test_masks_and_reduced_copies_of_a_map_are_no_pictures(tmp_path):
    """As GDAL writes a mask of what is valid, and overviews."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(BANDS.astype(np.uint16), photometric="rgb", metadata=None)
        file.write(np.ones((ROWS, COLUMNS), bool), subfiletype=4, metadata=None)
        file.write(
            BANDS[::2, ::2].astype(np.uint16), photometric="rgb", subfiletype=1, metadata=None
        )
    np.testing.assert_array_equal(read_pixels(path), BANDS)


def test_what_a_file_is_shows_in_its_content(tmp_path):
    path = write(tmp_path / "a.png", BANDS.astype(np.uint16), photometric="rgb", compression="lzw")
    np.testing.assert_array_equal(read_pixels(path), BANDS)
    Image.fromarray((BANDS // 16).astype(np.uint8)).save(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "b.tif")
    np.testing.assert_array_equal(read_pixels(tmp_path / "b.tif"), BANDS // 16)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_inks_become_colours_upright(tmp_path, orientation, compression):
    ink = np.zeros((ROWS, COLUMNS, 4), np.uint8)
    ink[:5, :, 0] = 255  # cyan above
    turn = (0x0112, "H", 1, orientation, True)
    options = {"photometric": "separated", "compression": compression, "extratags": [turn]}
    path = write(tmp_path / "a.tif", ink, **options)
    turns = {1: 0, 3: 2, 6: -1, 8: 1}[orientation]
    expected = np.rot90(255 - ink[..., :3], turns)
    np.testing.assert_array_equal(read_image(path), expected)
    assert image_hw(path) == expected.shape[:2]


def test_colours_that_cannot_be_shown_are_named(tmp_path):
    path = write(tmp_path / "a.tif", (BANDS // 16).astype(np.uint8), photometric="cielab")
    with pytest.raises(UserError, match=r"a\.tif holds colours as CIELAB: save it as RGB"):
        read_image(path)


def test_16_bit_grey_with_alpha_keeps_its_bits(tmp_path):
    import cv2

    pixels = np.dstack([BANDS[..., 1]] * 3 + [np.full((ROWS, COLUMNS), 65535)]).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "rgba.png"), pixels)
    np.testing.assert_array_equal(read_pixels(tmp_path / "rgba.png"), pixels[..., :3])


def test_of_a_moving_picture_not_the_first_is_taken(tmp_path):
    frames = [Image.fromarray((BANDS // s).astype(np.uint8)) for s in (16, 32)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    for name in ("a.webp", "a.png"):
        with pytest.raises(UserError, match=rf"{name} holds 2 pictures; expected one"):
            read_image(tmp_path / name)


@pytest.mark.parametrize("compression", ["lzw", "zstd"])
def test_compressed_files_with_wrong_bytes_are_said_or_read(tmp_path, compression):
    file, rng = tmp_path / "a.tif", np.random.default_rng(0)
    tifffile.imwrite(file, BANDS.astype(np.uint16), compression=compression, photometric="rgb")
    whole = file.read_bytes()
    for place in rng.integers(0, len(whole), 150):
        content = bytearray(whole)
        content[place] = rng.integers(256)
        file.write_bytes(content)
        with suppress(UserError):
            assert read_pixels(file).ndim == 3


def packed_tiff(path, values, photometric):
    """A TIFF of 4 bits, which tifffile does not write."""
    height, width = values.shape
    data = ((values[:, 0::2] << 4) | values[:, 1::2]).astype(np.uint8).tobytes()
    said = {256: width, 257: height, 258: 4, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height,
            279: len(data)}  # fmt: skip
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in said.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    path.write_bytes(head + data + struct.pack("<H", len(said)) + tags + struct.pack("<I", 0))
    return path


@pytest.mark.parametrize("photometric", [0, 1])
def test_four_bits_are_numbers_as_labels_and_shades_as_an_image(tmp_path, photometric):
    values = np.arange(24).reshape(4, 6) % 16
    path = packed_tiff(tmp_path / "a.tif", values, photometric)
    np.testing.assert_array_equal(read_labels(path), values)
    shown = 17 * (values if photometric else 15 - values)
    np.testing.assert_array_equal(read_image(path)[..., 0], shown)


def test_labels_lose_what_is_wholly_transparent(tmp_path):
    labels = np.array([[0, 2, 2, 0], [3, 0, 0, 1]], np.uint8)
    shown = np.where(labels > 0, labels, np.uint8(255))
    alpha = np.where(labels > 0, np.uint8(255), np.uint8(0))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.dstack([shown, alpha]), photometric="minisblack",
                     extrasamples=["unassalpha"])  # fmt: skip
    np.testing.assert_array_equal(read_labels(path), labels)
    tifffile.imwrite(path, np.dstack([shown * 0, alpha]), photometric="minisblack",
                     extrasamples=["unassalpha"])  # fmt: skip
    np.testing.assert_array_equal(read_labels(path), labels > 0)


def test_labels_of_several_pages_are_said_to_be_so(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((3, 8, 10), np.uint8), photometric="minisblack")
    with pytest.raises(UserError, match=r"3 pages .* expected one picture of labels: save objects"):
        read_labels(path)
