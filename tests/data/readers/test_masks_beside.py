"""Images with their masks beside them, as cellpose and Roboflow write them."""

import numpy as np
import pytest

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.masks_beside import MasksBeside
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError

HW = (12, 16)
NUMBERS = np.zeros(HW, np.uint16)
NUMBERS[1:4, 1:4], NUMBERS[6:10, 2:8] = 1, 7


def image_of(folder, write, name, mask, values=NUMBERS):
    write(folder / name, np.full((*HW, 3), 90, np.uint8))
    write(folder / mask, values)


@pytest.mark.parametrize(
    "mask", ["a_masks.tif", "a_cp_masks.png", "a_masks.png", "a_labels.png", "a_label.png"]
)
def test_a_mask_has_a_number_for_each_object(tmp_path, write, mask):
    image_of(tmp_path, write, "a.png", mask)
    assert recognise(tmp_path) == "masks_beside"
    source = MasksBeside(tmp_path)
    assert [record.image_id for record in source.records] == ["a"]
    sample = source.read(0)
    np.testing.assert_array_equal(sample.labels[0], NUMBERS)
    assert sample.classes == {}
    assert source.notes == []


def test_a_mask_of_classes_has_the_names_of_roboflow(tmp_path, write):
    for split in ("train", "valid"):
        image_of(tmp_path / split, write, f"{split}.rf.1a2b.png", f"{split}.rf.1a2b_mask.png")
        (tmp_path / split / "_classes.csv").write_text(
            "Pixel Value, Class\n0, background\n7, roof\n"
        )
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {name: [r.image_id for r in s.records] for name, s in splits.items() if len(s)} == {
        "train": ["train/train.rf.1a2b"], "val": ["valid/valid.rf.1a2b"],
    }  # fmt: skip
    assert splits["val"].read(0).classes == {1: "1", 7: "roof"}


def test_what_is_no_pair_is_counted(tmp_path, write):
    image_of(tmp_path, write, "a.png", "a_masks.tif")
    write(tmp_path / "a_cp_masks.png", NUMBERS)
    write(tmp_path / "a_flows.tif", NUMBERS)
    write(tmp_path / "b.png", np.zeros((*HW, 3), np.uint8))
    (tmp_path / "b_seg.npy").write_bytes(b"a pickle")
    source = MasksBeside(tmp_path)
    assert len(source) == 1
    told = {note.partition(": ")[2].partition(" left out")[0] for note in source.notes}
    reason = "(a pickle, not opened: in cellpose save the masks as PNG or TIFF)"
    assert told == {
        "1 second mask of an image", "1 image without a mask",
        f"1 image with _seg.npy alone {reason}",
    }  # fmt: skip


def test_pickles_alone_are_not_opened(tmp_path, write):
    write(tmp_path / "b.png", np.zeros((*HW, 3), np.uint8))
    (tmp_path / "b_seg.npy").write_bytes(b"a pickle")
    assert recognise(tmp_path) == "masks_beside"
    with pytest.raises(UserError, match=r"_seg\.npy is a pickle, .* save the masks as PNG or TIFF"):
        MasksBeside(tmp_path)


def test_mistakes_are_named(tmp_path, write):
    image_of(tmp_path, write, "a.png", "a_masks.png", NUMBERS[:4])
    with pytest.raises(UserError, match=r"a_masks\.png is 16x4 pixels, but its image is 16x12"):
        MasksBeside(tmp_path).read(0)
    (tmp_path / "_classes.csv").write_text("Pixel Value, Class\nx, roof\n")
    with pytest.raises(UserError, match=r"_classes\.csv: expected lines NUMBER,NAME"):
        MasksBeside(tmp_path)
    (tmp_path / "_classes.csv").unlink()
    with pytest.raises(UserError, match="is no folder"):
        MasksBeside(tmp_path / "a.png")
    write(tmp_path / "a.tif", np.zeros((*HW, 3), np.uint8))
    with pytest.raises(UserError, match="share a name and so a mask"):
        MasksBeside(tmp_path)


def test_the_names_of_cellposes_own_set_are_known(tmp_path, write):
    image_of(tmp_path, write, "000_img.png", "000_masks.png")
    source = MasksBeside(tmp_path)
    assert [record.image_id for record in source.records] == ["000_img"]
    np.testing.assert_array_equal(source.read(0).labels[0], NUMBERS)
