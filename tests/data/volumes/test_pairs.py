"""NIfTI and Analyze in two files, voxels and header."""

import nibabel as nib
import numpy as np
import pytest

from samtune.data.formats import recognise
from samtune.data.readers.volumes import Volumes
from samtune.data.volumes.copying import copy_volume
from samtune.data.volumes.voxels import read_geometry, read_voxels
from samtune.errors import UserError

VALUES = np.random.default_rng(0).integers(0, 500, (10, 12, 8)).astype(np.int16)
LABELS = np.zeros(VALUES.shape, np.int16)
LABELS[1:4, 6:11, 2:5] = 2
AFFINE = np.diag([0.5, 0.8, 3.0, 1.0])
KINDS = {"nifti": nib.Nifti1Pair, "analyze": nib.AnalyzeImage, "spm": nib.Spm2AnalyzeImage}


def save(kind, path, values):
    """A pair of voxels 0.5, 0.8 and 3 mm apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "nifti":
        image = nib.Nifti1Pair(values, AFFINE)
    else:
        image = KINDS[kind](values, None)
        image.header.set_zooms((0.5, 0.8, 3.0))
    image.to_filename(path)


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    save(request.param, tmp_path / "images" / "p1.img", VALUES)
    save(request.param, tmp_path / "labels" / "p1.img", LABELS)
    return request.param, tmp_path


def test_pairs_are_read_as_one_volume(folder):
    kind, path = folder
    assert recognise(path) == "volumes"
    source = Volumes(path)
    assert [record.image_id for record in source.records] == [f"p1/axial{n:04d}" for n in (2, 3, 4)]
    assert (source.read(0).labels > 0).sum() == (LABELS[:, :, 2] > 0).sum()
    assert dict(source.records[0].columns)["spacing_row"] == "0.8"
    is_told = any("which says no orientation" in note for note in source.notes)
    assert is_told == (kind != "nifti")


def test_the_first_axis_of_analyze_runs_to_the_left(folder):
    kind, path = folder
    expected = VALUES if kind == "nifti" else VALUES[::-1]
    np.testing.assert_array_equal(read_voxels(path / "images" / "p1.img"), expected)
    np.testing.assert_array_equal(read_voxels(path / "images" / "p1.hdr"), expected)


def test_both_files_are_copied(folder, tmp_path):
    _, path = folder
    copy_volume([path / "images" / "p1.img"], tmp_path / "copy" / "images")
    copied = tmp_path / "copy" / "images" / "p1.img"
    np.testing.assert_array_equal(read_voxels(copied), read_voxels(path / "images" / "p1.img"))


def test_labels_that_say_another_place_are_refused(tmp_path):
    save("analyze", tmp_path / "images" / "p1.img", VALUES)
    (tmp_path / "labels").mkdir()
    nib.save(nib.Nifti1Image(LABELS, np.diag([0.5, 0.8, 3, 1])), tmp_path / "labels" / "p1.nii.gz")
    with pytest.raises(UserError, match="lies elsewhere than its image"):
        Volumes(tmp_path)


def test_voxels_without_a_header_are_no_volume(tmp_path):
    save("nifti", tmp_path / "images" / "p1.img", VALUES)
    (tmp_path / "images" / "p1.hdr").write_text("ENVI\nsamples = 10\n")
    with pytest.raises(UserError, match="is not recognised"):
        recognise(tmp_path / "images")
    (tmp_path / "images" / "p1.hdr").write_bytes((348).to_bytes(4, "little") + bytes(20))
    with pytest.raises(UserError, match=r"p1\.img is no NIfTI or Analyze volume, or damaged"):
        read_geometry(tmp_path / "images" / "p1.img")


def test_voxels_that_begin_as_packed_files_do_are_read(tmp_path):
    values = VALUES.copy()
    values[0, 0, 0] = int.from_bytes(b"\x1f\x8b", "little", signed=True)
    save("nifti", tmp_path / "p1.img", values)
    np.testing.assert_array_equal(read_voxels(tmp_path / "p1.img"), values)
