"""Sequences in the layout of the Cell Tracking Challenge."""

import numpy as np
import pytest
import tifffile

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.cell_tracking import CellTracking
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError

HW = (9, 12)
FRAME = np.random.default_rng(0).integers(0, 65535, HW, dtype=np.uint16)
CELLS = np.zeros(HW, np.uint16)
CELLS[1:4, 1:5], CELLS[5:9, 6:11] = 7, 300
MARKERS = np.zeros(HW, np.uint16)
MARKERS[2, 2] = 7


def save(file, values):
    file.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(file, values, photometric="minisblack")


def write_sequence(root, name="01", frames=3, gold=(0, 2), silver=(), digits=3):
    for number in range(frames):
        save(root / name / f"t{number:0{digits}d}.tif", FRAME)
        save(root / f"{name}_GT" / "TRA" / f"man_track{number:0{digits}d}.tif", MARKERS)
    (root / f"{name}_GT" / "TRA" / "man_track.txt").write_text("7 0 2 0\n")
    for number in gold:
        save(root / f"{name}_GT" / "SEG" / f"man_seg{number:0{digits}d}.tif", CELLS)
    for number in silver:
        save(root / f"{name}_ST" / "SEG" / f"man_seg{number:0{digits}d}.tif", CELLS * 2)


@pytest.mark.parametrize("digits", [3, 4])
def test_frames_with_outlines_are_read_and_markers_are_none(tmp_path, digits):
    write_sequence(tmp_path, digits=digits)
    assert recognise(tmp_path) == "cell_tracking"
    source = CellTracking(tmp_path)
    ids = [f"01/t{number:0{digits}d}" for number in (0, 2)]
    assert [(r.image_id, r.group) for r in source.records] == [(i, "01") for i in ids]
    sample = source.read(1)
    np.testing.assert_array_equal(sample.labels, CELLS[None].astype(np.int32))
    assert sample.classes == {}
    (note,) = source.notes
    assert "1 frame without outlines (markers in TRA are none) left out" in note


def test_silver_truth_is_taken_where_there_is_no_gold_and_told(tmp_path):
    write_sequence(tmp_path, frames=4, gold=(0,), silver=(0, 1))
    source = CellTracking(tmp_path)
    assert [source.read(index).labels.max() for index in (0, 1)] == [300, 600]
    assert any("1 frame of 2 have silver truth alone" in note for note in source.notes)
    write_sequence(tmp_path / "other", frames=2, gold=(), silver=(1,))
    (tmp_path / "other" / "01_GT" / "SEG").mkdir(exist_ok=True)
    assert len(CellTracking(tmp_path / "other")) == 1


def test_a_sequence_is_a_group_that_no_split_tears(tmp_path):
    for number in range(1, 9):
        write_sequence(tmp_path, f"{number:02d}", gold=(0, 1, 2))
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    groups = {name: {r.group for r in source.records} for name, source in splits.items()}
    assert sum(map(len, groups.values())) == 8
    assert all(groups.values())
    assert len(set.union(*groups.values())) == 8


def test_several_data_sets_and_splits_as_folders(tmp_path):
    write_sequence(tmp_path / "train" / "HeLa", "01")
    write_sequence(tmp_path / "train" / "GOWT1", "01")
    write_sequence(tmp_path / "test" / "HeLa", "02")
    assert recognise(tmp_path) == "cell_tracking"
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {r.group for r in splits["test"].records} == {"test/HeLa/02"}
    trained = {r.group for name in ("train", "val") for r in splits[name].records}
    assert trained == {"train/HeLa/01", "train/GOWT1/01"}


def test_a_data_set_for_training_alone_is_divided(tmp_path):
    for name in ("01", "02", "03", "04"):
        write_sequence(tmp_path / "training" / "HeLa", name)
    write = tmp_path / "test" / "HeLa" / "01" / "t000.tif"
    save(write, FRAME)
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {name: len(source) for name, source in splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }


def test_volumes_are_refused_with_what_to_do(tmp_path):
    save(tmp_path / "01" / "t000.tif", np.zeros((5, *HW), np.uint16))
    save(tmp_path / "01_GT" / "SEG" / "man_seg000.tif", np.zeros((5, *HW), np.uint16))
    with pytest.raises(UserError, match=r"t000\.tif is a volume: give its frames as volumes"):
        CellTracking(tmp_path)
    (tmp_path / "01_GT" / "SEG" / "man_seg000.tif").unlink()
    save(tmp_path / "01_GT" / "SEG" / "man_seg_000_002.tif", CELLS)
    with pytest.raises(UserError, match="holds no frames with outlines"):
        CellTracking(tmp_path)


def test_outlines_without_a_frame_are_counted(tmp_path):
    write_sequence(tmp_path, frames=1, gold=(0, 5))
    save(tmp_path / "01_GT" / "SEG" / "man_seg_000_002.tif", CELLS)
    notes = CellTracking(tmp_path).notes
    assert any("1 file of outlines without a frame left out" in note for note in notes)
    assert any("1 slice that is drawn alone in a volume left out" in note for note in notes)


def test_two_frames_of_one_number_are_refused(tmp_path):
    write_sequence(tmp_path)
    save(tmp_path / "01" / "t0000.tif", FRAME)
    with pytest.raises(UserError, match="have one number"):
        CellTracking(tmp_path)


def test_outlines_of_another_size_are_refused(tmp_path):
    write_sequence(tmp_path)
    save(tmp_path / "01_GT" / "SEG" / "man_seg000.tif", CELLS[:-1])
    with pytest.raises(UserError, match=r"man_seg000\.tif is 12x8 pixels, but its image is 12x9"):
        CellTracking(tmp_path).read(0)
