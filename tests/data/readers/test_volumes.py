"""NIfTI volumes slice by slice: orientation, spacing, windows, labels, and mistakes."""

import pickle

import nibabel as nib
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.volumes import Volumes
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.data.volumes.slices import as_seen, slice_of
from samtune.data.volumes.voxels import read_geometry
from samtune.errors import UserError
from samtune.images.intensity import WINDOWS, find_range, to_grey, window_range
from samtune.reading import Reading
from samtune.types import IGNORED_CLASS

PLAIN = Reading()
SPACING = (0.5, 0.8, 3.0)


def save(path, values, spacing=SPACING, flips=(1, 1, 1)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([*np.multiply(spacing, flips), 1.0])), path)


@pytest.fixture
def volume():
    """A volume in right-anterior-superior order with a box labelled 2 on slices 2 to 4."""
    values = np.random.default_rng(0).integers(-500, 500, (10, 12, 8)).astype(np.int16)
    labels = np.zeros(values.shape, np.uint8)
    labels[1:4, 6:11, 2:5] = 2
    return values, labels


@pytest.fixture
def folder(tmp_path, volume):
    save(tmp_path / "images" / "p1.nii.gz", volume[0])
    save(tmp_path / "labels" / "p1.nii.gz", volume[1])
    return tmp_path


def save_labels(folder, geometry):
    """Labels of one object that fills the volume."""
    labels = nib.Nifti1Image(np.ones(geometry.ras_shape, np.uint8), geometry.ras_affine)
    (folder / "labels").mkdir()
    nib.save(labels, folder / "labels" / "p1.nii.gz")


def opened(folder, reading=PLAIN, **more):
    return Volumes(folder, SourceSettings(reading, **more))


class TestSlices:
    def test_those_with_labels_across_the_coarsest_spacing(self, folder):
        source = opened(folder)
        assert [r.image_id for r in source.records] == [f"p1/axial000{n}" for n in (2, 3, 4)]
        assert len(opened(folder, slices="all")) == 8
        assert len(opened(folder, Reading(axis="sagittal"))) == 3
        assert len(opened(folder, Reading(axis="coronal"))) == 5

    def test_front_is_up_and_the_right_of_the_body_on_the_left(self, folder):
        sample = opened(folder).read(0)
        assert sample.image.shape == (12, 10, 3)
        rows, columns = np.nonzero(sample.labels[0])
        # 6 to 10 of 0 (back) to 11 (front); 1 to 3 of 0 (left) to 9 (right)
        assert (rows.min(), rows.max()) == (1, 5)
        assert (columns.min(), columns.max()) == (6, 8)

    @pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1)])
    def test_however_the_voxels_are_stored_the_picture_is_the_same(self, tmp_path, volume, flips):
        expected = None
        order = tuple(slice(None, None, flip) for flip in flips)
        for number, (arrays_, signs) in enumerate(((volume, (1, 1, 1)),
                                                   ([v[order] for v in volume], flips))):  # fmt: skip
            place = tmp_path / str(number)
            for kind, values in zip(("images", "labels"), arrays_, strict=True):
                save(place / kind / "p1.nii", values, flips=signs)
            sample = opened(place).read(1)
            if expected is not None:
                np.testing.assert_array_equal(sample.image, expected.image)
                np.testing.assert_array_equal(sample.labels, expected.labels)
            expected = sample

    @pytest.mark.parametrize(("axis", "spacing"), [("axial", ("0.8", "0.5")),
                                                   ("coronal", ("3", "0.5")),
                                                   ("sagittal", ("3", "0.8"))])  # fmt: skip
    def test_spacing_and_size_are_those_of_the_picture(self, folder, axis, spacing):
        source = opened(folder, Reading(axis=axis))
        columns = dict(source.records[0].columns)
        assert (columns["spacing_row"], columns["spacing_column"]) == spacing
        assert source.hw(0) == source.read(0).image.shape[:2]

    def test_neighbours_are_red_and_blue_and_repeat_at_the_ends(self, folder):
        source = opened(folder, Reading(with_neighbours=True), slices="all")
        first, second = source.read(0).image, source.read(1).image
        np.testing.assert_array_equal(first[..., 0], first[..., 1])
        np.testing.assert_array_equal(first[..., 2], second[..., 1])
        np.testing.assert_array_equal(second[..., 0], first[..., 1])

    def test_slices_of_one_volume_are_one_group_and_named_by_class(self, folder):
        sample = opened(folder, class_names=((2, "lesion"),)).read(0)
        assert (sample.group, sample.classes) == ("p1", {2: "lesion"})
        assert opened(folder, labels="binary").read(0).classes == {1: ""}
        numbered = opened(folder, labels="instances", class_names=((2, "lesion"),)).read(0)
        assert (np.unique(numbered.labels).tolist(), numbered.classes) == ([0, 2], {})
        whole = opened(folder, ignore_values=(2,), slices="all")
        assert not any(whole.read(number).labels.any() for number in range(len(whole)))
        with pytest.raises(UserError, match="labels of 1 of 1 volumes are empty"):
            opened(folder, ignore_values=(2,))

    def test_what_is_ignored_may_be_kept_apart_from_the_background(self, folder, volume):
        """Who learns from every voxel is told which are neither object nor background."""
        labels = volume[1].copy()
        labels[5:8, 0:3, 3] = 7
        save(folder / "labels" / "p1.nii.gz", labels)
        plain = opened(folder, ignore_values=(7,))
        kept = opened(folder, ignore_values=(7,), keeps_ignored=True)
        assert [r.image_id for r in plain.records] == [r.image_id for r in kept.records]
        sample, other = kept.read(1), plain.read(1)
        (number,) = (n for n, name in sample.classes.items() if name == IGNORED_CLASS)
        np.testing.assert_array_equal((sample.labels == number).any(0), slice_of(labels == 7, 2, 3))
        np.testing.assert_array_equal(sample.labels == 2, other.labels == 2)
        assert other.classes == {2: "2"}

    @settings(max_examples=30, deadline=None,
              suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
    @given(values=arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 7)] * 3),
                                elements=st.integers(0, 3)))  # fmt: skip
    def test_labels_come_back_to_the_voxel(self, tmp_path, values):
        for kind in ("images", "labels"):
            save(tmp_path / kind / "p.nii", values)
        source = opened(tmp_path, Reading(axis="axial"), slices="all")
        again = [as_seen(source.read(n).labels[0]) for n in range(len(source))]
        np.testing.assert_array_equal(np.stack(again, axis=2), values)

    def test_processes_that_read_get_a_copy(self, folder):
        source = pickle.loads(pickle.dumps(opened(folder)))  # noqa: S301
        np.testing.assert_array_equal(source.read(1).labels, opened(folder).read(1).labels)

    def test_what_is_seen_is_turned_back(self):
        values = np.arange(12).reshape(3, 4)
        np.testing.assert_array_equal(as_seen(as_seen(values)), values)


def test_volumes_with_empty_labels_are_noted(folder, volume):
    save(folder / "images" / "p2.nii", volume[0])
    save(folder / "labels" / "p2.nii", volume[1] * 0)
    (note,) = opened(folder).notes
    assert "1 of 2 volumes are empty, and these left out: p2 (data.slices all" in note
    assert {record.group for record in opened(folder).records} == {"p1"}
    whole = opened(folder, slices="all")
    assert {record.group for record in whole.records} == {"p1", "p2"}
    assert not whole.notes
    save(folder / "labels" / "p1.nii.gz", volume[1] * 0)
    with pytest.raises(UserError, match=r"2 of 2 .* empty, such as .*\.gz: are these the right"):
        opened(folder)


class TestAxis:
    def write(self, folder, *spacings):
        for number, spacing in enumerate(spacings):
            for kind in ("images", "labels"):
                values = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
                save(folder / kind / f"p{number}.nii", values % 2, spacing)

    def test_planes_are_never_mixed_and_pictures_fit_their_labels(self, tmp_path):
        self.write(tmp_path, (1, 1, 2.5), (1, 1, 0.6), (4, 1, 1), (1, 1, 4))
        source = opened(tmp_path)
        assert {record.image_id[3:8] for record in source.records} == {"axial"}
        for index in range(len(source)):
            sample = source.read(index)
            np.testing.assert_array_equal(sample.image[..., 0] > 0, sample.labels[0] > 0)
        (note,) = source.notes
        assert "axial" in note
        assert "p2 would not be" in note

    def test_what_is_named_is_no_note(self, tmp_path):
        self.write(tmp_path, (1, 1, 2.5), (4, 1, 1))
        assert not opened(tmp_path, Reading(axis="axial")).notes
        assert opened(tmp_path).notes


class TestFormat:
    def test_it_is_recognised_in_both_layouts_and_split_by_volume(self, tmp_path, volume):
        for number in range(6):
            for kind, values in zip(("image", "label"), volume, strict=True):
                save(tmp_path / f"p{number}_{kind}.nii.gz", values)
        assert recognise(tmp_path) == "volumes"
        splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
        groups = [{r.group for r in splits[name].records} for name in ("train", "val", "test")]
        assert sum(map(len, groups)) == len(set().union(*groups)) == 6
        assert all(groups)

    def test_volumes_of_one_patient_stay_together(self, tmp_path, volume):
        for number in range(8):
            save(tmp_path / "images" / f"v{number}.nii.gz", volume[0])
            save(tmp_path / "labels" / f"v{number}.nii.gz", volume[1])
        rows = "".join(f"v{number},p{number // 2}\n" for number in range(8))
        (tmp_path / "manifest.csv").write_text(f"id,group\n{rows}")
        splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
        groups = [{r.group for r in splits[name].records} for name in ("train", "val", "test")]
        assert sum(map(len, groups)) == len(set().union(*groups)) == 4
        assert all(groups)

    def test_a_manifest_may_name_files(self, folder):
        (folder / "manifest.csv").write_text("id,split\np1.nii.gz,test\n")
        assert {record.split for record in opened(folder).records} == {"test"}

    def test_a_manifest_names_splits(self, folder):
        (folder / "manifest.csv").write_text("id,split,scanner\np1,test,A\n")
        (record, *_) = opened(folder).records
        assert record.split == "test"
        assert dict(record.columns)["scanner"] == "A"


class TestWindows:
    @pytest.mark.parametrize("window", [*WINDOWS, "50,400"])
    def test_low_is_black_and_high_is_white(self, window):
        low, high = window_range(window)
        if window in WINDOWS:
            centre, width = WINDOWS[window]
            assert (low, high) == (centre - width / 2, centre + width / 2)
        values = np.array([low - 1, low, (low + high) / 2, high, high + 1, np.nan], np.float32)
        assert to_grey(values, low, high).tolist() in ([0, 0, 128, 255, 255, 0],
                                                       [0, 0, 127, 255, 255, 0])  # fmt: skip

    def test_without_one_percentiles_of_the_whole_volume_are_taken(self):
        volume = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
        low, high = find_range(volume)
        assert (low, high) == (pytest.approx(5, abs=1), pytest.approx(994, abs=1))
        assert to_grey(np.full(3, 7, np.float32), 7, 7).tolist() == [0, 0, 0]

    @pytest.mark.parametrize("window", ["lungs", "1", "40,0", "40,-5", "a,b"])
    def test_other_windows_are_a_user_s_error(self, window):
        with pytest.raises(UserError, match=r"data\.window is"):
            window_range(window)


class TestMistakes:
    def test_labels_of_another_size(self, folder, volume):
        save(folder / "labels" / "p1.nii.gz", volume[1][:5])
        with pytest.raises(UserError, match=r"5x12x8 voxels, but its image has 10x12x8"):
            opened(folder)

    @pytest.mark.parametrize("value", [0.3, -1])
    def test_labels_that_are_none(self, folder, volume, value):
        save(folder / "labels" / "p1.nii.gz", volume[1].astype(np.float32) * value)
        with pytest.raises(UserError, match="are no labels"):
            opened(folder)

    def test_a_volume_without_labels(self, folder):
        (folder / "labels" / "p1.nii.gz").unlink()
        with pytest.raises(UserError, match=r"p1\.nii\.gz has no labels: expected"):
            opened(folder)

    def test_an_empty_a_truncated_and_a_foreign_file(self, folder):
        file = folder / "images" / "p1.nii.gz"
        whole = file.read_bytes()
        for content in (b"", b"no volume", whole[: len(whole) // 2]):
            file.write_bytes(content)
            with pytest.raises(UserError, match=r"no NIfTI volume|truncated or damaged"):
                opened(folder).read(0)

    def test_two_axes(self, folder):
        save(folder / "images" / "p1.nii.gz", np.zeros((10, 12), np.int16))
        with pytest.raises(UserError, match="volumes of three axes are needed"):
            opened(folder)

    def test_a_folder_without_volumes(self, tmp_path):
        with pytest.raises(UserError, match="holds no volumes"):
            opened(tmp_path)


class TestDicom:
    @pytest.fixture
    def scan(self, tmp_path, write_slices):
        """A series of 5 slices of 8 x 6 with a NIfTI label of the same geometry."""
        values = np.random.default_rng(0).integers(-200, 200, (5, 8, 6)).astype(np.int16)
        write_slices("images/p1", values, WindowCenter=0, WindowWidth=100)
        labels = np.zeros((5, 8, 6), np.uint8)
        labels[2, 1:4, 2:5] = 1
        in_order = np.transpose(labels, (2, 1, 0))[::-1, ::-1]
        affine = np.diag([0.5, 0.8, 3.0, 1.0])
        affine[:3, 3] = -10 - 5 * 0.5, -20 - 7 * 0.8, 30
        (tmp_path / "labels").mkdir()
        nib.save(nib.Nifti1Image(in_order, affine), tmp_path / "labels" / "p1.nii.gz")
        return tmp_path, values, labels

    def test_series_are_read_slice_by_slice_as_they_were_taken(self, scan):
        folder, values, labels = scan
        assert recognise(folder) == "volumes"
        source = opened(folder)
        assert [record.image_id for record in source.records] == ["p1/axial0002"]
        sample = source.read(0)
        np.testing.assert_array_equal(sample.labels[0], labels[2])
        np.testing.assert_array_equal(sample.image[..., 0], to_grey(values[2], -50, 50))
        assert dict(source.records[0].columns)["spacing_row"] == "0.8"

    @pytest.mark.parametrize("number", [1, 4])
    def test_frames_are_cut_as_they_are_whatever_is_coarsest(self, tmp_path, write_slices, number):
        write_slices("images/p1", np.zeros((number, 8, 6), np.int16), (1.0, 2.0, 2.0))
        geometry = read_geometry(tmp_path / "images" / "p1")
        save_labels(tmp_path, geometry)
        source = opened(tmp_path)
        assert [r.image_id for r in source.records] == [f"p1/axial000{n}" for n in range(number)]
        assert source.read(0).image.shape == (8, 6, 3)
        assert opened(tmp_path, Reading(axis="sagittal")).read(0).image.shape == (number, 8, 3)

    def test_a_film_has_a_spacing_in_its_frames_alone(self, tmp_path, write_slices):
        (file,) = write_slices("s", np.zeros((1, 8, 6), np.int16), (1.0, 2.0, 2.0)).iterdir()
        film = pydicom.dcmread(file)
        film.NumberOfFrames, film.PixelData = 9, np.zeros((9, 8, 6), np.int16).tobytes()
        del film.ImagePositionPatient, film.SliceThickness
        (tmp_path / "images").mkdir()
        film.save_as(tmp_path / "images" / "p1.dcm")
        save_labels(tmp_path, read_geometry(tmp_path / "images" / "p1.dcm"))
        (record, *others) = opened(tmp_path).records
        assert (record.image_id, len(others)) == ("p1/axial0000", 8)
        assert dict(record.columns)["spacing_row"] == "2"
        assert not opened(tmp_path, Reading(axis="coronal")).records[0].columns

    @pytest.mark.parametrize("below", ["SE0001", "study/series/1"])
    def test_a_series_lies_at_any_depth_below_its_name(self, scan, below):
        folder, values, _ = scan
        inside = folder / "images" / "p1" / below
        (folder / "images" / "p1").rename(folder / "other")
        inside.parent.mkdir(parents=True)
        (folder / "other").rename(inside)
        (inside.parent / "round").symlink_to(folder / "images" / "p1", target_is_directory=True)
        assert recognise(folder) == "volumes"
        source = opened(folder)
        assert [record.image_id for record in source.records] == ["p1/axial0002"]
        np.testing.assert_array_equal(source.stored(0)[..., 0], values[2])

    def test_several_series_below_one_name_are_said(self, scan, write_slices):
        folder, values, _ = scan
        write_slices("images/p1/scout", values)
        with pytest.raises(UserError, match=r"p1 holds 2 DICOM series \(p1, p1/scout\): give each"):
            opened(folder)

    @pytest.mark.parametrize("slices", ["labelled", "all"])
    def test_what_is_no_object_of_a_structure_set_is_noted(self, scan, write_rtstruct, slices):
        folder, _, _ = scan
        (folder / "labels" / "p1.nii.gz").unlink()
        ring = [[10, 20, 36], [12, 20, 36], [12, 25, 36]]
        write_rtstruct(folder / "labels" / "p1.dcm", {"liver": [ring], "needle": [ring]},
                         {"needle": "OPEN_PLANAR"})  # fmt: skip
        (note,) = opened(folder, slices=slices).notes
        assert "OPEN_PLANAR of needle" in note

    def test_a_named_window_or_a_range_goes_before_the_files_own(self, scan):
        folder, values, _ = scan
        shown = opened(folder, Reading(window="soft_tissue")).read(0).image[..., 0]
        np.testing.assert_array_equal(shown, to_grey(values[2], -150, 250))
        ranged = opened(folder, Reading(value_range=(0.0, 10.0))).read(0).image[..., 0]
        np.testing.assert_array_equal(ranged, to_grey(values[2], 0, 10))

    def test_single_pictures_beside_masks_are_no_volumes(self, tmp_path, write_slices, write):
        values = np.random.default_rng(0).integers(0, 200, (2, 8, 6)).astype(np.int16)
        for file in write_slices("raw", values).iterdir():
            dataset = pydicom.dcmread(file)
            stem = f"x{dataset.InstanceNumber}"
            (tmp_path / "images").mkdir(exist_ok=True)
            file.rename(tmp_path / "images" / f"{stem}.dcm")
            write(tmp_path / "masks" / f"{stem}.png", np.full((8, 6), 255, np.uint8))
        assert recognise(tmp_path) == "mask_folder"
        splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
        sample = splits["train"].read(0)
        assert sample.image.shape == (8, 6, 3)
        assert (sample.labels == 255).all()


class TestMemory:
    def test_volumes_used_last_are_kept_as_far_as_memory_goes(self, tmp_path, volume, monkeypatch):
        for name in "abc":
            save(tmp_path / "images" / f"{name}.nii.gz", volume[0])
            save(tmp_path / "labels" / f"{name}.nii.gz", volume[1])
        source = opened(tmp_path)
        for index in (0, 3, 6, 0):
            source.read(index)
        assert list(source._kept) == [1, 2, 0]
        size = source._kept[0].num_bytes
        monkeypatch.setattr("samtune.data.readers.volumes._MOST_BYTES", 2 * size)
        source.read(0)
        assert list(source._kept) == [2, 0]
        assert not pickle.loads(pickle.dumps(source))._kept  # noqa: S301
