"""Pascal VOC as the challenge, CVAT and labelme write it, and mistakes in it."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.voc import Voc
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError

HW = (6, 8)
IMAGE = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
OBJECTS, KINDS = np.zeros(HW, np.uint8), np.zeros(HW, np.uint8)
OBJECTS[1:3, 1:4], OBJECTS[4:6, 2:8], OBJECTS[0] = 1, 2, 255
KINDS[1:3, 1:4], KINDS[4:6, 2:8], KINDS[0], KINDS[5, 7] = 15, 3, 255, 15


def colour(number):
    """The colour of a number in VOC's palette, bit by bit."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
    return channels


PALETTE = [value for number in range(256) for value in colour(number)]


def save(folder, kind, name, values, is_coloured=False):
    file = folder / kind / f"{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    if values.ndim == 2 and values.dtype == np.uint8:
        picture.putpalette(PALETTE)
    (picture.convert("RGB") if is_coloured else picture).save(file)


def listed(folder, **splits):
    place = folder / "ImageSets" / "Segmentation"
    place.mkdir(parents=True, exist_ok=True)
    for split, names in splits.items():
        (place / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))


@pytest.fixture
def folder(tmp_path, write):
    for name in ("2007_1", "2007_2", "2007_3"):
        write(tmp_path / "JPEGImages" / f"{name}.jpg", IMAGE)
        save(tmp_path, "SegmentationObject", name, OBJECTS)
        save(tmp_path, "SegmentationClass", name, KINDS)
    return tmp_path


def without_void(values):
    return np.where(values == 255, 0, values)


def test_objects_have_the_class_of_most_of_their_pixels(folder):
    sample = Voc(folder).read(0)
    np.testing.assert_array_equal(sample.labels[0], without_void(OBJECTS))
    assert sample.classes == {1: "person", 2: "bird"}


def test_classes_alone_are_an_object_each(folder):
    for file in (folder / "SegmentationObject").iterdir():
        file.unlink()
    sample = Voc(folder).read(0)
    np.testing.assert_array_equal(sample.labels[0], without_void(KINDS))
    assert sample.classes == {3: "bird", 15: "person"}
    assert Voc(folder, SourceSettings(class_names=((3, "duck"),))).read(0).classes[3] == "duck"


def test_classes_can_be_asked_for_beside_objects(folder):
    sample = Voc(folder, SourceSettings(labels="semantic")).read(0)
    np.testing.assert_array_equal(sample.labels[0], without_void(KINDS))
    sample = Voc(folder, SourceSettings(labels="binary")).read(0)
    np.testing.assert_array_equal(sample.labels[0], without_void(KINDS) > 0)
    assert sample.classes == {1: ""}


def test_objects_alone_have_no_class(folder):
    for file in (folder / "SegmentationClass").iterdir():
        file.unlink()
    sample = Voc(folder).read(0)
    np.testing.assert_array_equal(sample.labels[0], without_void(OBJECTS))
    assert sample.classes == {}


def test_lists_are_splits(folder):
    listed(folder, train=["2007_2"], val=["2007_1"], trainval=["2007_1", "2007_2"])
    assert recognise(folder) == "voc"
    splits = open_splits(folder, "auto", SourceSettings(), SplitSettings())
    found = {name: [r.image_id for r in part.records] for name, part in splits.items()}
    assert found == {"train": ["2007_2"], "val": ["2007_1"], "test": []}


def test_the_challenge_s_own_folders_are_found(folder, tmp_path):
    inner = tmp_path / "VOCdevkit" / "VOC2012"
    inner.mkdir(parents=True)
    for each in ("JPEGImages", "SegmentationClass", "SegmentationObject"):
        (folder / each).rename(inner / each)
    assert recognise(tmp_path) == "voc"
    assert len(Voc(tmp_path)) == 3


@pytest.mark.parametrize("is_coloured", [True, False])
def test_cvat_names_classes_by_colour(folder, is_coloured):
    """Its masks are coloured as labelmap.txt says, numbers count up in the order of their use."""
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nnu\u0308sse:192,128,128::\n"
        "root hair:128,128,0::\n", encoding="utf-8"
    )  # fmt: skip
    save(folder, "SegmentationClass", "2007_1", KINDS, is_coloured)
    save(folder, "SegmentationObject", "2007_1", OBJECTS, is_coloured)
    sample = Voc(folder).read(0)
    np.testing.assert_array_equal(sample.labels[0], without_void(OBJECTS))
    assert sample.classes == {1: "nu\u0308sse", 2: "root hair"}


def test_labelme_names_classes_in_order(folder):
    (folder / "class_names.txt").write_text("_background_\na\nb\nc\n")
    (folder / "SegmentationClass").rename(folder / "SegmentationClassPNG")
    (folder / "SegmentationClass").mkdir()
    (folder / "SegmentationClass" / "2007_1.npy").touch()
    assert Voc(folder).read(0).classes == {1: "15", 2: "c"}


@settings(max_examples=30, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(values=arrays.arrays(np.uint8, HW), is_coloured=st.booleans())
def test_what_is_written_is_read(folder, values, is_coloured):
    values[0, 0], values[0, 1] = 1, 2  # colours that are all grey would be taken as numbers
    save(folder, "SegmentationObject", "2007_1", values, is_coloured)
    np.testing.assert_array_equal(Voc(folder).read(0).labels[0], without_void(values))


def test_many_objects_in_16_bits(folder):
    values = (np.arange(HW[0] * HW[1], dtype=np.uint16) * 1000 + 300).reshape(HW)
    save(folder, "SegmentationObject", "2007_1", values)
    np.testing.assert_array_equal(Voc(folder).read(0).labels[0], values)


def test_a_mask_of_another_size_is_named(folder):
    save(folder, "SegmentationClass", "2007_1", KINDS[:, :5])
    with pytest.raises(UserError, match=r"SegmentationClass/2007_1\.png is 5x6 pixels, .* 8x6"):
        Voc(folder).read(0)


@pytest.mark.parametrize(
    ("lists", "reason"),
    [
        ({"train": ["2007_9"]}, r"train\.txt lists 2007_9, which has no mask"),
        ({"train": ["../2007_1"]}, r"lists \.\./2007_1, which has no mask"),
        ({"train": ["2007_1"], "val": ["2007_1"]}, "2007_1 stands in two lists"),
    ],
)
def test_lists_that_make_no_sense_are_said(folder, lists, reason):
    listed(folder, **lists)
    with pytest.raises(UserError, match=reason):
        Voc(folder)


def test_an_image_that_is_not_there_is_named(folder):
    listed(folder, train=["2007_1"])
    (folder / "JPEGImages" / "2007_1.jpg").unlink()
    with pytest.raises(UserError, match=r"there is no image .*2007_1\.jpg"):
        Voc(folder)


def test_folders_without_masks_or_pairs_are_said(folder, tmp_path, write):
    with pytest.raises(UserError, match=r"has no masks \*\.png in SegmentationObject or"):
        Voc(tmp_path / "JPEGImages")
    for file in (folder / "JPEGImages").iterdir():
        file.rename(file.with_name(f"x{file.name}"))
    with pytest.raises(UserError, match="has a mask of its name"):
        Voc(folder)


@pytest.mark.parametrize("line", ["cell", "cell:red::", "cell:1,2::", "cell:99999999999999,0,0"])
def test_a_label_map_that_is_none_is_said(folder, line):
    (folder / "labelmap.txt").write_text(f"background:0,0,0::\n{line}\n")
    with pytest.raises(UserError, match=r"labelmap\.txt is no label map: expected lines NAME:RED"):
        Voc(folder)


def test_images_and_masks_that_are_not_read_are_told(folder, write):
    assert Voc(folder).notes == []
    write(folder / "JPEGImages" / "bare.jpg", IMAGE)
    save(folder, "SegmentationClass", "gone", KINDS)
    listed(folder, train=["2007_1", "2007_2"])
    assert [note.partition(": ")[2] for note in Voc(folder).notes] == [
        "1 image in no list left out, such as 2007_3",
        "1 image without a mask left out, such as bare",
        "1 mask without an image left out, such as gone",
    ]
