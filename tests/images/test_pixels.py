import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from samtune.errors import UserError
from samtune.images.intensity import to_uint8
from samtune.images.labels import read_labels
from samtune.images.pixels import read_image, read_pixels

# Three rows of four pixels, all different, so that any turn or swap shows.
GREY = np.array([[0, 10, 20, 30], [40, 50, 60, 70], [80, 90, 100, 255]], np.uint8)
COLOUR = np.dstack([GREY, GREY[::-1], 255 - GREY])


@pytest.fixture
def edge_folder():
    root = os.environ.get("SAMTUNE_DATA")
    if not root:
        pytest.skip("SAMTUNE_DATA does not name the folder of real images")
    return Path(root) / "edge"


def save(path, pixels, **options):
    Image.fromarray(pixels).save(path, **options)
    return path


def save_tiff(path, pixels, **options):
    tifffile.imwrite(path, pixels, **options)
    return path


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def as_rgb(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def noise(shape, top=256, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, top, shape).astype(dtype)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_grey_is_repeated_over_the_channels(tmp_path, name):
    image = read_image(save(tmp_path / name, GREY))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, as_rgb(GREY))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp"])
def test_rgb_is_read_as_it_is(tmp_path, name):
    options = {"lossless": True} if name == "a.webp" else {}
    np.testing.assert_array_equal(read_image(save(tmp_path / name, COLOUR, **options)), COLOUR)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_alpha_is_dropped(tmp_path, name):
    with_alpha = np.dstack([COLOUR, GREY])
    np.testing.assert_array_equal(read_image(save(tmp_path / name, with_alpha)), COLOUR)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_alpha_of_grey_is_dropped(tmp_path, name):
    Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(GREY[::-1])]).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name), as_rgb(GREY))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_a_palette_becomes_its_colours(tmp_path, name):
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([9, 8, 7, 200, 0, 0, 0, 100, 250])
    image.save(tmp_path / name)
    expected = [[[9, 8, 7], [200, 0, 0]], [[0, 100, 250], [200, 0, 0]]]
    assert read_image(tmp_path / name).tolist() == expected


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    ink = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    ink.save(tmp_path / "a.jpg", quality=100)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (16, 16, 3)
    assert np.abs(image.astype(int) - [0, 255, 255]).max() <= 2


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_one_bit_is_black_and_white(tmp_path, name):
    bits = np.array([[True, False], [False, True]])
    np.testing.assert_array_equal(read_image(save(tmp_path / name, bits)), as_rgb(bits * 255))


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, GREY),
        (2, GREY[:, ::-1]),
        (3, GREY[::-1, ::-1]),
        (4, GREY[::-1]),
        (5, GREY.T),
        (6, np.rot90(GREY, -1)),
        (7, GREY[::-1, ::-1].T),
        (8, np.rot90(GREY)),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_a_turned_image_is_put_upright(tmp_path, name, orientation, expected):
    path = save(tmp_path / name, GREY, exif=turned(orientation))
    np.testing.assert_array_equal(read_image(path), as_rgb(expected))


def test_a_turned_jpeg_is_put_upright(tmp_path):
    path = save(tmp_path / "a.jpg", np.zeros((8, 16, 3), np.uint8), exif=turned(6))
    assert read_image(path).shape == (16, 8, 3)


def test_a_turned_16_bit_tiff_is_put_upright(tmp_path):
    pixels = COLOUR.astype(np.uint16) * 257
    turn = (0x0112, "H", 1, 6, True)
    path = save_tiff(tmp_path / "a.tif", pixels, photometric="rgb", extratags=[turn])
    np.testing.assert_array_equal(read_image(path), np.rot90(COLOUR, -1))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_is_scaled_by_its_range(tmp_path, name):
    pixels = np.array([[0, 257, 32768, 65535]], np.uint16)
    image = read_image(save(tmp_path / name, pixels))
    assert image[0, :, 0].tolist() == [0, 1, 128, 255]


def test_8_bit_values_in_a_16_bit_file_stay_as_they_are(tmp_path):
    path = save(tmp_path / "a.png", GREY.astype(np.uint16))
    np.testing.assert_array_equal(read_image(path), as_rgb(GREY))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_colour_keeps_all_its_bits(tmp_path, name):
    pixels = noise((6, 7, 3), 4000, np.uint16)
    cv2.imwrite(str(tmp_path / name), pixels[..., ::-1])
    np.testing.assert_array_equal(read_pixels(tmp_path / name), pixels)


def test_a_float_tiff_up_to_one_is_scaled_to_255(tmp_path):
    path = save_tiff(tmp_path / "a.tif", np.array([[0, 0.2, 0.5, 1]], np.float32))
    assert read_image(path)[0, :, 0].tolist() == [0, 51, 128, 255]


def test_a_float_tiff_above_one_is_taken_as_0_to_255(tmp_path):
    path = save_tiff(tmp_path / "a.tif", np.array([[0, 0.6, 100, 300]], np.float32))
    assert read_image(path)[0, :, 0].tolist() == [0, 1, 100, 255]


@pytest.mark.parametrize("stretch", ["none", "percentile", "auto"])
def test_values_that_are_not_finite_are_black_and_do_not_spread(tmp_path, stretch):
    pixels = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    pixels[3, 4], pixels[5, 6], pixels[7, 8] = np.nan, np.inf, -np.inf
    image = read_image(save_tiff(tmp_path / "a.tif", pixels), stretch=stretch)
    assert image[[3, 5, 7], [4, 6, 8]].max() == 0
    assert image[19, 19].tolist() == [255, 255, 255]
    assert (image > 120).sum() > 500


def test_a_band_without_values_is_told_where_it_is_shown(tmp_path, caplog):
    values = np.random.default_rng(0).random((4, 4, 4)).astype(np.float32)
    values[..., 1] = np.nan
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig")
    read_image(path, bands=(0, 2, 3))
    assert not caplog.messages
    assert not read_image(path, bands=(0, 2, 1))[..., 2].any()
    (told,) = caplog.messages
    assert "a.tif holds no values, only NaN or infinity, in blue of 3: seen as black" in told


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("how", [{}, {"stretch": "percentile"}, {"value_range": (0, 9)}])
def test_an_image_without_values_is_refused(tmp_path, value, how):
    values = np.full((4, 4), value, np.float32)
    path = save_tiff(tmp_path / "a.tif", values)
    with pytest.raises(UserError, match=r"a\.tif holds no values, only NaN or infinity"):
        read_image(path, **how)
    values[1, 2] = 9  # one is enough
    assert read_image(save_tiff(tmp_path / "b.tif", values), value_range=(0, 9))[1, 2, 0] == 255


def test_bands_are_taken_in_the_order_red_green_blue(tmp_path):
    pixels = noise((6, 7, 5))
    path = save_tiff(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_image(path, bands=[4, 0, 2]), pixels[..., [4, 0, 2]])


def test_without_bands_the_first_three_channels_are_taken(tmp_path):
    pixels = noise((6, 7, 5))
    path = save_tiff(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_image(path), pixels[..., :3])


def test_one_band_is_grey_and_two_are_red_and_green(tmp_path):
    path = save(tmp_path / "a.png", COLOUR)
    np.testing.assert_array_equal(read_image(path, bands=[1]), as_rgb(COLOUR[..., 1]))
    two = read_image(path, bands=[2, 0])
    np.testing.assert_array_equal(two[..., :2], COLOUR[..., [2, 0]])
    assert two[..., 2].max() == 0


@pytest.mark.parametrize("bands", [[3], [-1], [], [0, 1, 2, 0]])
def test_bands_that_do_not_fit_are_refused_with_the_number_of_channels(tmp_path, bands):
    path = save(tmp_path / "a.png", COLOUR)
    with pytest.raises(UserError, match=r"a\.png, which has 3 channels: .* from 0 to 2"):
        read_image(path, bands=bands)


def test_a_planar_tiff_is_read_like_any_other(tmp_path):
    pixels = noise((5, 6, 7), 60000, np.uint16)
    path = save_tiff(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="separate")
    np.testing.assert_array_equal(read_pixels(path), np.moveaxis(pixels, 0, -1))


def test_a_planar_rgb_tiff_is_read_like_any_other(tmp_path):
    planes = np.moveaxis(COLOUR, -1, 0)
    path = save_tiff(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(path), COLOUR)


def test_the_infrared_band_of_an_rgb_tiff_is_no_alpha(tmp_path):
    pixels = np.dstack([COLOUR, GREY])
    path = save_tiff(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"])
    np.testing.assert_array_equal(read_image(path, bands=[3, 0, 1]), pixels[..., [3, 0, 1]])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_min_is_white_is_turned_round(tmp_path, dtype):
    top = np.iinfo(dtype).max
    pixels = np.array([[0, top // 5, top]], dtype)
    path = save_tiff(tmp_path / "a.tif", pixels, photometric="miniswhite")
    assert read_image(path)[0, :, 0].tolist() == [255, 204, 0]


def test_a_tiff_of_several_pages_is_not_taken_for_its_first_page(tmp_path):
    pages = noise((5, 8, 9))
    path = save_tiff(tmp_path / "a.tif", pages, photometric="minisblack")
    with pytest.raises(UserError, match=r"a\.tif.*5"):
        read_pixels(path)


def test_a_stretch_maps_the_outer_half_percents_to_black_and_white(tmp_path):
    pixels = np.full((40, 50), 17, np.uint8)
    pixels[0, :5], pixels[0, 5:15] = 0, 5
    pixels[1, :5], pixels[1, 5:15] = 200, 35
    image = read_image(save(tmp_path / "a.png", pixels), stretch="percentile")
    assert image[0, [0, 5, 15], 0].tolist() == [0, 0, 102]
    assert image[1, [0, 5, 15], 0].tolist() == [255, 255, 102]


def test_a_stretch_keeps_the_hue(tmp_path):
    dark = np.zeros((20, 20, 3), np.uint8)
    dark[:10] = [40, 20, 10]
    image = read_image(save(tmp_path / "a.png", dark), stretch="percentile")
    assert image[0, 0].tolist() == [255, 128, 64]


def test_a_flat_image_stretches_to_black(tmp_path):
    path = save(tmp_path / "a.png", np.full((8, 8), 77, np.uint8))
    assert read_image(path, stretch="percentile").max() == 0


@pytest.mark.parametrize(("top", "is_stretched"), [(100, True), (127, True), (128, False)])
def test_auto_stretches_8_bit_images_only_if_dark(tmp_path, top, is_stretched):
    ramp = np.tile(np.linspace(0, top, 64).round().astype(np.uint8), (8, 1))
    image = read_image(save(tmp_path / "a.png", ramp), stretch="auto")
    assert image.max() == (255 if is_stretched else top)


def test_auto_stretches_16_bit_images_always(tmp_path):
    ramp = np.tile(np.linspace(30000, 60000, 64).astype(np.uint16), (8, 1))
    image = read_image(save(tmp_path / "a.png", ramp), stretch="auto")
    assert (image.min(), image.max()) == (0, 255)


def test_none_leaves_dark_8_bit_images_alone(tmp_path):
    path = save(tmp_path / "a.png", GREY // 10)
    np.testing.assert_array_equal(read_image(path), as_rgb(GREY // 10))


def test_boolean_pixels_are_black_and_white():
    assert to_uint8(np.array([[[True], [False]]]), "percentile").tolist() == [[[255], [0]]]


@pytest.mark.parametrize("read", [read_image, read_pixels, read_labels])
@pytest.mark.parametrize("name", ["gone.png", "gone.tif", "gone.jpg"])
def test_a_missing_file_is_named(tmp_path, read, name):
    with pytest.raises(UserError, match=rf"{name}"):
        read(tmp_path / name)


@pytest.mark.parametrize("read", [read_image, read_labels])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp"])
def test_a_text_file_is_no_image(tmp_path, read, name):
    (tmp_path / name).write_text("this is no picture")
    with pytest.raises(UserError, match=rf"{name} (is no image|cannot be read: cannot identify)"):
        read(tmp_path / name)


@pytest.mark.parametrize("kind", ["plain", "zlib", "tiled"])
def test_tiffs_with_wrong_bytes_are_said_or_read(tmp_path, kind):
    """tifffile raises errors of every kind, and takes any size for granted."""
    options = {"plain": {}, "zlib": {"compression": "zlib"}, "tiled": {"tile": (16, 16)}}[kind]
    file, rng = tmp_path / "a.tif", np.random.default_rng(0)
    tifffile.imwrite(file, np.zeros((12, 16, 3), np.uint16), **options)
    whole = file.read_bytes()
    for place in range(0, 250):
        content = bytearray(whole)
        content[place] = rng.choice([0, 1, 127, 255])
        file.write_bytes(content)
        with suppress(UserError):
            assert read_pixels(file).ndim == 3


def test_a_tiff_that_claims_more_than_memory_is_refused(tmp_path):
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, np.zeros((12, 16), np.uint8))
    with tifffile.TiffFile(file, mode="r+") as tiff:
        for tag in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[tag].overwrite(60_000)
    with pytest.raises(UserError, match=r"a\.tif is too large: it claims 60000x60000 pixels"):
        read_pixels(file)


def test_a_text_file_is_no_tiff(tmp_path):
    (tmp_path / "a.tif").write_text("this is no picture")
    with pytest.raises(UserError, match=r"a\.tif is no image that can be read"):
        read_image(tmp_path / "a.tif")


def test_an_empty_file_is_no_image(tmp_path):
    for name in ("a.png", "a.jpg", "a.tif"):
        (tmp_path / name).touch()
        with pytest.raises(UserError, match=name):
            read_image(tmp_path / name)


def truncate(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("read", [read_image, read_labels])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_truncated_file_is_named_with_the_reason(tmp_path, read, name, share):
    path = truncate(save(tmp_path / name, noise((64, 64, 3))), share)
    with pytest.raises(UserError, match=rf"{name} (cannot be read: \w|is no image)"):
        read(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9])
def test_a_truncated_compressed_tiff_is_named(tmp_path, share):
    path = save_tiff(tmp_path / "a.tif", noise((64, 64)), compression="zlib")
    with pytest.raises(UserError, match=r"a\.tif cannot be read: \w"):
        read_pixels(truncate(path, share))


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(UserError, match="there is no image"):
        read_image(tmp_path)


def test_labels_keep_16_bit_numbers(tmp_path):
    values = np.array([[0, 1, 300], [65535, 0, 7]], np.uint16)
    for name in ("a.png", "a.tif"):
        labels = read_labels(save(tmp_path / name, values))
        assert labels.dtype == np.int32
        np.testing.assert_array_equal(labels, values)


def test_labels_keep_32_bit_numbers(tmp_path):
    values = np.array([[0, 70_000], [2_000_000, 1]], np.int32)
    path = save_tiff(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_labels(path), values)


def test_float_labels_become_whole_numbers(tmp_path):
    path = save_tiff(tmp_path / "a.tif", np.array([[0, 1.0, 2.9999, np.nan]], np.float32))
    assert read_labels(path).tolist() == [[0, 1, 3, 0]]


@pytest.mark.parametrize(
    ("values", "found"),
    [(np.uint32([[2**31 + 5]]), "2147483653"), (np.uint64([[2**63]]), "9.22337203685e\\+18"),
     (np.float32([[0, np.inf]]), "3.40282346639e\\+38"), (np.float32([[2**31]]), "2147483648"),
     (np.int64([[-(2**31) - 5]]), "-2147483653")],
)  # fmt: skip
def test_labels_beyond_32_bits_are_named_with_the_limit(tmp_path, values, found):
    path = save_tiff(tmp_path / "a.tif", values)
    with pytest.raises(UserError, match=f"holds the label {found}, but labels go up to 2147483647"):
        read_labels(path)
    ends = [[-(2**31), 2**31 - 1]]
    assert read_labels(save_tiff(tmp_path / "b.tif", np.int64(ends))).tolist() == ends


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_palette_labels_are_their_numbers(tmp_path, name):
    values = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    image = Image.fromarray(values, "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / name)
    np.testing.assert_array_equal(read_labels(tmp_path / name), values)


def test_grey_labels_stored_as_colour_are_grey(tmp_path):
    np.testing.assert_array_equal(read_labels(save(tmp_path / "a.png", as_rgb(GREY))), GREY)


def test_coloured_labels_keep_their_channels(tmp_path):
    np.testing.assert_array_equal(read_labels(save(tmp_path / "a.png", COLOUR)), COLOUR)


def test_labels_lose_their_alpha(tmp_path):
    with_alpha = np.dstack([as_rgb(GREY), np.full_like(GREY, 255)])
    np.testing.assert_array_equal(read_labels(save(tmp_path / "a.png", with_alpha)), GREY)


@pytest.mark.realdata
def test_an_rgb_tiff_that_calls_itself_grey_is_read_in_colour(edge_folder):
    image = read_image(edge_folder / "cvc_001_minisblack3.tif")
    mask = read_labels(edge_folder / "cvc_001_mask.tif")
    assert image.shape == (288, 384, 3)
    assert image[..., 0].mean() > image[..., 2].mean() + 20
    assert mask.shape == (288, 384)
    assert image[mask > 0].mean() > image[mask == 0].mean()


def packed_png(path, values, bits):
    """A grey PNG whose values have so few bits, which Pillow does not write."""
    height, width = values.shape
    spread = np.unpackbits(values.astype(np.uint8)[..., None], axis=2)[..., -bits:]
    rows = np.packbits(spread.reshape(height, width * bits), axis=1)
    content = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(content)), (b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
    return path


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_is_numbers_as_labels_and_shades_as_an_image(tmp_path, bits):
    top = 2**bits - 1
    values = np.arange(24).reshape(4, 6) % (top + 1)
    path = packed_png(tmp_path / "a.png", values, bits)
    np.testing.assert_array_equal(read_labels(path), values)
    np.testing.assert_array_equal(read_image(path), as_rgb(values * (255 // top)))


LABELS = np.array([[0, 0, 1, 1], [0, 2, 2, 0], [3, 3, 0, 0]], np.uint8)
ALPHA = np.where(LABELS > 0, np.uint8(255), np.uint8(0))


@pytest.mark.parametrize("colour", [0, 255, 90])
def test_of_one_colour_alone_the_mask_is_in_alpha(tmp_path, colour):
    """As programs that cut out objects save them: white, or black, and elsewhere transparent."""
    soft = np.where(LABELS == 3, np.uint8(100), ALPHA)
    pixels = np.dstack([*[np.full_like(LABELS, colour)] * 3, soft])
    for values in (pixels, pixels[..., 2:]):
        found = read_labels(save(tmp_path / "a.png", values))
        np.testing.assert_array_equal(found, (LABELS > 0) & (LABELS < 3))


def test_what_is_wholly_transparent_is_no_label(tmp_path):
    shown = np.where(LABELS > 0, LABELS, np.uint8(255))
    path = save(tmp_path / "a.png", np.dstack([shown, ALPHA]))
    np.testing.assert_array_equal(read_labels(path), LABELS)
    coloured = np.dstack([shown, shown * 2, shown, ALPHA])
    found = read_labels(save(tmp_path / "b.png", coloured))
    np.testing.assert_array_equal(found, np.dstack([LABELS, LABELS * 2, LABELS]))
    # where all is opaque, or all is transparent, alpha says nothing
    for alpha in (255, 0):
        path = save(tmp_path / "c.png", np.dstack([shown, np.full_like(shown, alpha)]))
        np.testing.assert_array_equal(read_labels(path), shown)


def test_16_bit_labels_with_alpha_lose_what_is_transparent(tmp_path):
    shown = np.where(LABELS > 0, LABELS * np.uint16(300), np.uint16(65535))
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.dstack([shown, shown, shown, ALPHA * np.uint16(257)]))
    np.testing.assert_array_equal(read_labels(path), LABELS * np.int32(300))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_fractions_are_no_labels(tmp_path, kind):
    values = LABELS.astype(kind)
    np.testing.assert_array_equal(read_labels(save_tiff(tmp_path / "a.tif", values)), LABELS)
    near = save_tiff(tmp_path / "b.tif", values * kind(1.0001))
    np.testing.assert_array_equal(read_labels(near), LABELS)
    with pytest.raises(UserError, match=r"no labels \(fractions such as 0\.3\)"):
        read_labels(save_tiff(tmp_path / "c.tif", values * kind(0.3)))
