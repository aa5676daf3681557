"""What is written in a format is read back equal."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from samtune.data.readers.coco import Coco
from samtune.data.readers.labelme import Labelme
from samtune.data.readers.mask_folder import MaskFolder
from samtune.data.readers.yolo import Yolo
from samtune.data.source import Record, spacing_columns
from samtune.data.writing import WRITERS
from samtune.errors import UserError
from samtune.images.kinds import EncodedImage
from samtune.types import Sample

READERS = {
    "coco": lambda folder: Coco(folder / "test.json"),
    "labels": MaskFolder,
    "yolo": Yolo,
    "labelme": Labelme,
}
# ids of objects that any format keeps: 1, 2, 3 ... without gaps
LABELS = arrays.arrays(np.int32, st.tuples(st.integers(1, 24), st.integers(1, 24)),
                       elements=st.integers(0, 4))  # fmt: skip


def without_gaps(values):
    _, dense = np.unique(np.append(values, 0), return_inverse=True)
    return dense[:-1].reshape(values.shape).astype(np.int32)


def round_trip(folder, target, sample):
    shutil.rmtree(folder, ignore_errors=True)
    writer = WRITERS[target](folder)
    writer.add("test", Record(sample.image_id, Path("nowhere.tif")), sample, None)
    writer.finish()
    source = READERS[target](folder)
    assert len(source) == 1
    return source.read(0)


@pytest.mark.parametrize("target", WRITERS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=LABELS)
def test_objects_come_back_to_the_pixel(tmp_path, target, values):
    labels = without_gaps(values)
    image = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), dtype=np.uint8)
    classes = {number: f"kind {number % 2}" for number in range(1, labels.max() + 1)}
    found = round_trip(tmp_path / "out", target, Sample("a", image, labels[None], classes))
    np.testing.assert_array_equal(found.image, image)
    np.testing.assert_array_equal(found.labels[0], labels)
    assert found.image_id == "a"
    if target != "labels":
        assert found.classes == classes


def test_coco_keeps_ids_with_gaps_names_with_folders_and_objects_that_overlap(tmp_path):
    labels = np.zeros((2, 6, 8), np.int32)
    labels[0, 1:4, 1:4], labels[1, 2:6, 2:6], labels[0, 5, 7] = 70_000, 3, 12
    sample = Sample("train/ä b", np.zeros((6, 8, 3), np.uint8), labels)
    found = round_trip(tmp_path / "out", "coco", sample)
    assert found.image_id == "train/ä b"
    for number in (3, 12, 70_000):
        mask, again = ((values == number).any(0) for values in (labels, found.labels))
        np.testing.assert_array_equal(again, mask)


def test_large_ids_go_to_a_tiff_and_overlaps_are_refused(tmp_path):
    labels = np.zeros((1, 6, 8), np.int32)
    labels[0, 1:4, 1:4] = 70_000
    image = np.zeros((6, 8, 3), np.uint8)
    found = round_trip(tmp_path / "out", "labels", Sample("a", image, labels))
    np.testing.assert_array_equal(found.labels, labels)
    both = np.concatenate([labels, labels // 2])
    with pytest.raises(UserError, match="objects of a overlap"):
        round_trip(tmp_path / "out", "labels", Sample("a", image, both))


@pytest.mark.parametrize("target", WRITERS)
def test_a_file_is_copied_and_a_part_of_one_is_written_as_it_is_seen(tmp_path, write, target):
    """Tiles and slices of volumes share a file with others."""
    sample = Sample("scan@0,8", np.full((6, 8, 3), 7, np.uint8), np.ones((1, 6, 8), np.int32))
    whole = np.random.default_rng(0).integers(0, 60_000, (6, 8), dtype=np.uint16)
    file = write(tmp_path / "scan.png", whole)
    inside = EncodedImage("scan of row 3", file.read_bytes())
    for name, each in (("part", None), ("file", file), ("inside", inside)):
        writer = WRITERS[target](tmp_path / target / name)
        writer.add("test", Record("scan@0,8", file), sample, each)
        writer.finish()
        source = READERS[target](tmp_path / target / name)
        expected = sample.image if each is None else whole[..., None]
        np.testing.assert_array_equal(source.stored(0), expected)


@pytest.mark.parametrize("target", WRITERS)
@pytest.mark.parametrize("group", ["patient 1", ""])
def test_groups_and_columns_are_kept(tmp_path, target, group):
    labels = np.ones((1, 6, 8), np.int32)
    sample = Sample("a", np.zeros((6, 8, 3), np.uint8), labels, group=group)
    writer = WRITERS[target](tmp_path / "out")
    columns = {"stain": 'h, "e"', "group": "kind 1", **spacing_columns(0.5, 0.25, "mm")}
    given = (("id", "a"), ("split", "x"), *columns.items())
    writer.add("test", Record("a", Path("nowhere"), columns=given), sample, None)
    writer.finish()
    (record,) = READERS[target](tmp_path / "out").records
    found = {"group": record.group} | dict(record.columns)
    assert {name: found[name] for name in columns} == columns | {"group": group or "kind 1"}


def test_two_images_never_get_one_name(tmp_path):
    labels = np.ones((1, 6, 8), np.int32)
    writer = WRITERS["labels"](tmp_path / "out")
    first, second = (Sample(n, np.zeros((6, 8, 3), np.uint8), labels) for n in ("a/b", "a_b"))
    writer.add("val", Record("a/b", Path("nowhere")), first, None)
    with pytest.raises(UserError, match="two images would be called a_b"):
        writer.add("val", Record("a_b", Path("nowhere")), second, None)
