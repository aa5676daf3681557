"""Masks of slices on disk: kept under the same settings only, and nothing else is removed."""

import json

import numpy as np
import pytest

from samtune.errors import UserError
from samtune.geometry import mask_to_rle
from samtune.inference.volume_linking import SliceMask
from samtune.inference.volume_store import SliceStore

SETTINGS = {"weights": "a", "range": [0.0, 1.5], "bands": None}
MASKS = [SliceMask(mask_to_rle(np.eye(5, 7) > 0), 0.625)]


def never():
    pytest.fail("done already")


def test_what_was_found_is_not_looked_for_again(tmp_path):
    folder = tmp_path / "a.partial"
    assert SliceStore(folder, SETTINGS, False).masks(3, lambda: MASKS) == MASKS
    assert SliceStore(folder, SETTINGS, False).masks(4, lambda: []) == []
    again = SliceStore(folder, SETTINGS, True)  # overwriting concerns what was made otherwise
    assert again.masks(3, never) == MASKS
    assert again.masks(4, never) == []


@pytest.mark.parametrize("content", ["", "[[1]]", "7", '[[{"size": [5, 7]}, 0.5]]', "{"])
def test_half_a_file_is_made_again(tmp_path, content):
    store = SliceStore(tmp_path, SETTINGS, False)
    (tmp_path / "00003.json").write_text(content)
    assert store.masks(3, lambda: MASKS) == MASKS
    assert store.masks(3, never) == MASKS


def test_other_settings_are_refused_or_begin_anew(tmp_path):
    SliceStore(tmp_path, SETTINGS, False).masks(0, lambda: MASKS)
    with pytest.raises(UserError, match=r"\(range differ\).*--overwrite"):
        SliceStore(tmp_path, SETTINGS | {"range": [0.0, 2.0]}, False)
    anew = SliceStore(tmp_path, SETTINGS | {"range": [0.0, 2.0]}, True)
    assert anew.masks(0, lambda: []) == []


def test_files_of_others_stay(tmp_path):
    store = SliceStore(tmp_path / "a", SETTINGS, False)
    store.masks(0, lambda: MASKS)
    (tmp_path / "a" / "mine.json").write_text(json.dumps("precious"))
    store.remove()
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["mine.json"]
    (tmp_path / "a" / "mine.json").unlink()
    store.remove()
    assert not (tmp_path / "a").exists()
