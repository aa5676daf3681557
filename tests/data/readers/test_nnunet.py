import json

import numpy as np
import pytest
import tifffile

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.nnunet import NnUnet
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError
from samtune.reading import Reading
from samtune.types import IGNORED_CLASS

HW = (6, 8)
RGB = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
VALUES = np.zeros(HW, np.uint8)
VALUES[0:2, 0:3], VALUES[4:6, 5:8] = 1, 2
NAMES = {"background": 0, "road": 1, "roof": 2}


@pytest.fixture
def layout(tmp_path, write):
    """Writes images a and b, of one or several channels, with labels and names."""

    def write_layout(channels=(RGB,), labels=NAMES, ids="ab", ending="Tr", **about):
        for name in ids:
            for number, values in enumerate(channels):
                write(tmp_path / f"images{ending}" / f"{name}_{number:04d}.png", values)
            write(tmp_path / f"labels{ending}" / f"{name}.png", VALUES)
        content = {"channel_names": {"0": "red", "1": "green"}, "labels": labels, **about}
        (tmp_path / "dataset.json").write_text(json.dumps(content))
        return tmp_path

    return write_layout


def with_bands(*bands):
    return SourceSettings(reading=Reading(bands=bands))


def test_an_image_in_one_file_has_its_classes_by_name(layout):
    source = NnUnet(layout())
    assert recognise(layout()) == "nnunet"
    assert [record.image_id for record in source.records] == ["a", "b"]
    sample = source.read(0)
    np.testing.assert_array_equal(sample.image, RGB)
    np.testing.assert_array_equal(sample.labels, VALUES[None])
    assert sample.classes == {1: "road", 2: "roof"}
    assert not source.is_part


def test_files_of_channels_are_chosen_by_bands(layout):
    folder = layout([RGB[..., 0], RGB[..., 1]])
    with pytest.raises(UserError, match=r"2 channels: choose with bands, .*0: red, 1: green"):
        NnUnet(folder)
    both = NnUnet(folder, with_bands(1, 0)).read(0).image
    np.testing.assert_array_equal(both[..., :2], RGB[..., [1, 0]])
    assert not both[..., 2].any()
    one = NnUnet(folder, with_bands(1))
    np.testing.assert_array_equal(one.read(0).image, np.repeat(RGB[..., 1:2], 3, axis=2))
    assert one.is_part  # whose pixels are in several files, none of which may stand for it


def test_a_band_beyond_the_channels_is_refused(layout):
    source = NnUnet(layout([RGB[..., 0], RGB[..., 1]]), with_bands(2))
    with pytest.raises(UserError, match="which has 2 channels"):
        source.read(0)


def test_a_channel_that_is_missing_is_named(layout):
    folder = layout([RGB[..., 0], RGB[..., 1], RGB[..., 2]])
    (folder / "imagesTr" / "b_0001.png").unlink()
    with pytest.raises(UserError, match=r"b_0000.png .*0000, 0002: channel 0001 is missing"):
        NnUnet(folder, with_bands(0))


def test_a_name_that_ends_like_a_channel_is_one_where_labels_are_called_so(tmp_path, write):
    for name in ("x_0001", "x_0002"):
        write(tmp_path / "imagesTr" / f"{name}.png", RGB)
        write(tmp_path / "labelsTr" / f"{name}.png", VALUES)
    source = NnUnet(tmp_path)
    assert [record.image_id for record in source.records] == ["x_0001", "x_0002"]
    assert source.read(0).classes == {1: "1", 2: "2"}


def test_tests_with_labels_are_the_test_split_and_others_are_told(layout, write):
    folder = layout(ending="Ts", ids="cd")
    layout(ids="abef")
    splits = open_splits(folder, "auto", SourceSettings(), SplitSettings())
    assert [record.image_id for record in splits["test"].records] == ["c", "d"]
    assert len(splits["train"]) + len(splits["val"]) == 4
    for file in (folder / "labelsTs").iterdir():
        file.unlink()
    (folder / "labelsTs").rmdir()
    write(folder / "labelsTr" / "z.png", VALUES)
    notes = NnUnet(folder).notes
    assert [note.split(": ", 1)[1].split(",")[0] for note in notes] == [
        "1 file of labels without an image left out", "2 images without labelsTs left out",
    ]  # fmt: skip


def test_an_image_without_labels_is_refused(layout):
    folder = layout()
    (folder / "labelsTr" / "b.png").unlink()
    with pytest.raises(UserError, match=r"b_0000.png has no labels: expected .*labelsTr/b.png"):
        NnUnet(folder)


def test_two_files_of_one_name_are_refused(layout, write):
    folder = layout()
    write(folder / "imagesTr" / "a_0000.bmp", RGB)
    with pytest.raises(UserError, match=r"a_0000.bmp and .*a_0000.png share a name"):
        NnUnet(folder)


def test_what_is_to_be_ignored_is_no_object(layout):
    folder = layout(labels={"background": 0, "road": 1, "ignore": 2})
    sample = NnUnet(folder).read(0)
    assert (sample.classes, int(sample.labels.max())) == ({1: "road"}, 1)
    kept = NnUnet(folder, SourceSettings(keeps_ignored=True)).read(0)
    assert set(kept.classes.values()) == {"road", IGNORED_CLASS}


@pytest.mark.parametrize("keeps", [False, True])
def test_regions_overlap(layout, keeps):
    labels = {"background": 0, "ground": [1, 2], "roof": [2]}
    sample = NnUnet(layout(labels=labels), SourceSettings(keeps_ignored=keeps)).read(0)
    assert sample.classes == {1: "ground", 2: "roof"}
    np.testing.assert_array_equal((sample.labels == 1).any(0), VALUES > 0)
    np.testing.assert_array_equal((sample.labels == 2).any(0), VALUES == 2)


def test_tiffs_are_read_too(tmp_path):
    for folder, name, values in (("imagesTr", "a_0000", RGB), ("labelsTr", "a", VALUES)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / f"{name}.tif", values, compression="lzw")
    sample = NnUnet(tmp_path).read(0)
    np.testing.assert_array_equal(sample.image, RGB)
    np.testing.assert_array_equal(sample.labels, VALUES[None])
