"""Volumes as other tools lay them out, and with several values a voxel."""

import json

import nibabel as nib
import numpy as np
import pytest

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.volumes import Volumes
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.data.volumes.finding import channel_files
from samtune.errors import UserError
from samtune.images.intensity import find_range, to_grey
from samtune.images.naming import list_images
from samtune.reading import Reading

SHAPE = (8, 10, 6)
IMAGE = np.random.default_rng(0).integers(0, 500, SHAPE).astype(np.int16)
LABELS = np.zeros(SHAPE, np.uint8)
LABELS[2:6, 3:8, 1:5] = 1
LABELS[3:5, 4:6, 2:4] = 2


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.0, 3.0, 1.0])), path)


def opened(folder, bands=None, **more):
    return Volumes(folder, SourceSettings(Reading(bands=bands), **more))


def seen(values, number):
    """An axial slice as a picture has it."""
    return values[::-1, ::-1, number].T


class TestNnunet:
    def write(self, folder, labels, cases=("a", "b", "c"), channels=1, values=LABELS):
        for case in cases:
            for channel in range(channels):
                file = folder / "imagesTr" / f"{case}_{channel:04d}.nii.gz"
                save(file, IMAGE * (channel + 1) + channel)
            save(folder / "labelsTr" / f"{case}.nii.gz", values)
        (folder / "dataset.json").write_text(json.dumps({"labels": labels, "numTraining": 3}))

    @pytest.mark.parametrize(
        "labels",
        [
            {"background": 0, "organ": 1, "tumour": 2},
            {"0": "background", "1": "organ", "2": "tumour"},
        ],
    )
    def test_is_recognised_and_names_its_classes(self, tmp_path, labels):
        self.write(tmp_path, labels)
        assert recognise(tmp_path) == "volumes"
        source = opened(tmp_path)
        assert [f.volume_id for f in source.files] == ["a", "b", "c"]
        assert [r.image_id for r in source.records[:4]] == [f"a/axial000{n}" for n in (1, 2, 3, 4)]
        sample = source.read(1)
        assert sample.classes == {1: "organ", 2: "tumour"}
        np.testing.assert_array_equal(sample.labels[0], seen(LABELS, 2))
        low, high = find_range(IMAGE)
        np.testing.assert_array_equal(sample.image[..., 0], to_grey(seen(IMAGE, 2), low, high))

    def test_what_it_calls_ignore_is_no_object(self, tmp_path):
        self.write(tmp_path, {"background": 0, "organ": 1, "ignore": 2})
        sample = opened(tmp_path).read(1)
        assert sample.classes == {1: "organ"}
        np.testing.assert_array_equal(sample.labels[0], seen(LABELS == 1, 2))

    def test_regions_are_objects_that_overlap(self, tmp_path):
        """BraTS's way: the whole is made of its parts, and each is an object."""
        values = LABELS.copy()
        values[5, 7, 2] = 3
        values[2, 3, 2] = 4
        labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}
        self.write(tmp_path, labels, ("a",), values=values)
        sample = opened(tmp_path).read(1)
        assert sample.classes == {1: "whole", 2: "core", 3: "enhancing"}
        for number, its in ((1, [1, 2, 3]), (2, [2, 3]), (3, [3])):
            found = (sample.labels == number).any(axis=0)
            np.testing.assert_array_equal(found, seen(np.isin(values, its), 2))

    def test_a_value_of_no_region_is_refused(self, tmp_path):
        self.write(tmp_path, {"background": 0, "whole": [1, 3], "part": [3]}, ("a",))
        with pytest.raises(
            UserError, match=r"holds the value 2, .* in no region: expected 0, 1, 3"
        ):
            opened(tmp_path)

    @pytest.mark.parametrize("value", [1.5, "one", [], [1, "2"], True, None])
    def test_a_label_that_is_no_number_is_refused(self, tmp_path, value):
        self.write(tmp_path, {"background": 0, "organ": value}, ("a",))
        with pytest.raises(UserError, match=r"dataset\.json gives the label 'organ' as"):
            opened(tmp_path)

    def test_channels_are_named_by_their_numbers(self, tmp_path):
        self.write(tmp_path, {"background": 0, "organ": 1, "tumour": 2}, ("a",), channels=3)
        for key in ("channel_names", "modality"):
            content = json.loads((tmp_path / "dataset.json").read_text())
            names = {"2": "FLAIR", "0": "T1", "1": "T2"}  # in any order
            (tmp_path / "dataset.json").write_text(json.dumps({**content, key: names}))
            with pytest.raises(UserError, match=r"\(0: T1, 1: T2, 2: FLAIR\)"):
                opened(tmp_path)

    def test_a_channel_that_is_missing_is_said(self, tmp_path):
        self.write(tmp_path, {"background": 0, "organ": 1, "tumour": 2}, channels=3)
        (tmp_path / "imagesTr" / "b_0001.nii.gz").unlink()
        with pytest.raises(UserError, match=r"numbered 0000, 0002: channel 0001 is missing"):
            opened(tmp_path, (0, 1))

    def test_several_channels_are_a_choice(self, tmp_path):
        self.write(tmp_path, {"background": 0, "organ": 1, "tumour": 2}, channels=4)
        with pytest.raises(UserError, match=r"a_0000\.nii\.gz has 4 values a voxel .* bands"):
            opened(tmp_path)
        source = opened(tmp_path, (3, 0))
        picture = source.read(1).image
        for place, channel in enumerate((3, 0)):
            values = IMAGE * (channel + 1) + channel
            expected = to_grey(seen(values, 2), *find_range(values))
            np.testing.assert_array_equal(picture[..., place], expected)
        assert not picture[..., 2].any()
        assert source.stored(1).shape == (10, 8, 2)
        files = channel_files(tmp_path / "imagesTr" / "b_0000.nii.gz")
        assert [file.name for file in files] == [f"b_000{n}.nii.gz" for n in range(4)]

    def test_a_channel_elsewhere_is_named(self, tmp_path):
        self.write(tmp_path, {"background": 0, "organ": 1, "tumour": 2}, ("a",), channels=2)
        other = nib.Nifti1Image(IMAGE, np.eye(4))
        nib.save(other, tmp_path / "imagesTr" / "a_0001.nii.gz")
        with pytest.raises(UserError, match=r"a_0001\.nii\.gz lies elsewhere than .*a_0000"):
            opened(tmp_path, (0, 1)).read(0)

    def test_test_images_with_labels_are_the_test_split(self, tmp_path):
        self.write(tmp_path, {"background": 0, "organ": 1, "tumour": 2}, "abcd")
        save(tmp_path / "imagesTs" / "t_0000.nii.gz", IMAGE)
        assert len(opened(tmp_path).files) == 4  # without labels they are no data
        save(tmp_path / "labelsTs" / "t.nii.gz", LABELS)
        splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
        assert {r.group for r in splits["test"].records} == {"t"}
        assert {r.group for name in ("train", "val") for r in splits[name].records} == set("abcd")

    def test_the_decathlons_names_and_renamed_folders_too(self, tmp_path):
        save(tmp_path / "imagesTr" / "BRATS_001.nii.gz", IMAGE)
        save(tmp_path / "labelsTr" / "BRATS_001.nii.gz", LABELS)
        assert [f.volume_id for f in opened(tmp_path).files] == ["BRATS_001"]
        for name in ("images", "labels"):
            (tmp_path / f"{name}Tr").rename(tmp_path / name)
        (tmp_path / "images" / "BRATS_001.nii.gz").rename(tmp_path / "images/BRATS_001_0000.nii.gz")
        assert [f.volume_id for f in opened(tmp_path).files] == ["BRATS_001"]


class TestStructures:
    @pytest.mark.parametrize("layout", ["totalsegmentator", "labels"])
    def test_a_file_each_has_one_number_in_all_volumes(self, tmp_path, layout):
        found = {"s0": {"spleen": 2}, "s1": {"liver": 1, "spleen": 2}}
        for case, structures in found.items():
            if layout == "labels":
                image, folder = f"images/{case}.nii.gz", tmp_path / "labels" / case
            else:
                image, folder = f"{case}/ct.nii.gz", tmp_path / case / "segmentations"
            save(tmp_path / image, IMAGE)
            for name, value in structures.items():
                save(folder / f"{name}.nii.gz", (value == LABELS).astype(np.uint8))
        assert recognise(tmp_path) == "volumes"
        source = opened(tmp_path)
        samples = {r.image_id: source.read(n) for n, r in enumerate(source.records)}
        assert samples["s0/axial0002"].classes == {2: "spleen"}
        both = samples["s1/axial0002"]
        assert both.classes == {1: "liver", 2: "spleen"}
        np.testing.assert_array_equal(both.labels.max(axis=0), seen(LABELS, 2))

    def write_patients(self, folder):
        for case in ("s0000", "s0001", "s0002", "s0003"):
            save(folder / case / "ct.nii.gz", IMAGE)
            save(folder / case / "segmentations" / "liver.nii.gz", (LABELS > 0).astype(np.uint8))
        return folder

    @pytest.mark.parametrize("comma", [";", ","])
    def test_the_table_says_splits_and_kinds_of_studies(self, tmp_path, comma):
        rows = [
            "image_id;age;gender;study_type;split", "s0001;40;f;ct thorax;val",
            "s0000;61;m;ct abdomen-pelvis;train", "s0002;;m;ct thorax;test",
            "s0003;22;f;ct head;train", "s0999;22;f;ct head;train",
        ]  # fmt: skip
        text = "\n".join(rows).replace(";", comma)
        (self.write_patients(tmp_path) / "meta.csv").write_text(text)
        splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
        found = {name: {r.group for r in source.records} for name, source in splits.items()}
        assert found == {"train": {"s0000", "s0003"}, "val": {"s0001"}, "test": {"s0002"}}
        columns = dict(splits["val"].records[0].columns)
        assert (columns["study_type"], columns["gender"]) == ("ct thorax", "f")

    def test_a_manifest_goes_before_the_table(self, tmp_path):
        self.write_patients(tmp_path)
        (tmp_path / "meta.csv").write_text("image_id;split\ns0000;test\n")
        (tmp_path / "manifest.csv").write_text("id,split\ns0001,test\n")
        splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
        assert {r.group for r in splits["test"].records} == {"s0001"}

    def test_two_images_of_a_patient_are_said(self, tmp_path):
        for name in ("ct", "mri", "segmentations/liver"):
            save(tmp_path / "s0" / f"{name}.nii.gz", LABELS)
        with pytest.raises(UserError, match=r"s0 holds 2 volumes .*ct\.nii\.gz, mri\.nii\.gz"):
            opened(tmp_path)


class TestSeveralValues:
    @pytest.fixture
    def folder(self, tmp_path):
        values = np.stack([IMAGE, IMAGE + 5, IMAGE[::-1]], axis=-1)
        save(tmp_path / "images" / "p.nii.gz", values)
        save(tmp_path / "labels" / "p.nii.gz", LABELS)
        return tmp_path

    def test_are_chosen_by_bands(self, folder):
        with pytest.raises(UserError, match=r"p\.nii\.gz has 3 values a voxel .*choose with bands"):
            opened(folder)
        with pytest.raises(UserError, match=r"bands \[3\] do not fit .* 0 to 2"):
            opened(folder, (3,))
        single = opened(folder, (2,))
        expected = to_grey(seen(IMAGE[::-1], 2), *find_range(IMAGE[::-1]))
        np.testing.assert_array_equal(single.read(1).image[..., 1], expected)
        assert single.stored(1).shape == (10, 8, 1)
        three = opened(folder, (2, 1, 0)).read(1)
        np.testing.assert_array_equal(three.image[..., 0], expected)
        np.testing.assert_array_equal(three.labels[0], seen(LABELS, 2))

    def test_neighbours_are_refused_beside_them(self, folder):
        reading = Reading(bands=(0, 1), with_neighbours=True)
        with pytest.raises(UserError, match="leave out with_neighbours"):
            Volumes(folder, SourceSettings(reading))

    def test_vectors_of_itk_are_the_same(self, folder):
        sitk = pytest.importorskip("SimpleITK")
        expected = opened(folder, (2, 1, 0)).read(1).image
        values = np.stack([IMAGE, IMAGE + 5, IMAGE[::-1]], axis=-1)
        image = sitk.GetImageFromArray(values.transpose(2, 1, 0, 3), isVector=True)
        image.SetSpacing((1, 1, 3))
        image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
        (folder / "images" / "p.nii.gz").unlink()
        sitk.WriteImage(image, str(folder / "images" / "p.nrrd"))
        np.testing.assert_array_equal(opened(folder, (2, 1, 0)).read(1).image, expected)

    def test_colours_are_shown_as_they_are(self, folder):
        values = np.random.default_rng(1).integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
        packed = values.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
        save(folder / "images" / "p.nii.gz", packed)
        picture = opened(folder).read(1).image
        np.testing.assert_array_equal(picture, values[::-1, ::-1, 2].transpose(1, 0, 2))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_volume_without_a_number_is_refused(tmp_path, value):
    save(tmp_path / "images" / "p.nii", np.full(SHAPE, value, np.float32))
    save(tmp_path / "labels" / "p.nii", LABELS)
    with pytest.raises(UserError, match="holds no values, only NaN or infinity"):
        opened(tmp_path).read(0)


def test_dicom_whose_names_say_nothing_is_found(tmp_path, write_slices):
    for case in ("a", "b"):
        folder = write_slices(f"images/{case}", np.zeros((5, 8, 6), np.int16))
        for number, file in enumerate(sorted(folder.iterdir())):
            file.rename(folder / f"MR.1.2.840.{number}")
        (folder / "LICENSE").write_text("free")
        affine = np.array([[-0.5, 0, 0, -10], [0, -0.8, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]])
        (tmp_path / "labels").mkdir(exist_ok=True)
        labels = nib.Nifti1Image(np.ones((6, 8, 5), np.uint8), affine)
        nib.save(labels, tmp_path / "labels" / f"{case}.nii.gz")
    assert recognise(tmp_path) == "volumes"
    source = opened(tmp_path)
    assert len(source) == 10
    (note,) = source.notes
    assert "2 files beside slices left out, such as" in note


def test_single_dicom_pictures_whose_names_say_nothing_are_images(tmp_path, write_slices, write):
    folder = write_slices("images", np.arange(3 * 48, dtype=np.int16).reshape(3, 8, 6))
    for number, file in enumerate(sorted(folder.iterdir())):
        name = f"1.2.840.{number}" if number else "IM0001"
        file.rename(folder / name)
        write(tmp_path / "masks" / f"{name}.png", np.full((8, 6), 255, np.uint8))
    (folder / "LICENSE").write_text("free")
    assert recognise(tmp_path) == "mask_folder"
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    records = [r for source in splits.values() for r in source.records]
    assert sorted(r.image_id for r in records) == ["1.2.840.1", "1.2.840.2", "IM0001"]
    assert all(source.read(0).labels.any() for source in splits.values())
    assert sorted(list_images([folder])) == ["1.2.840.1", "1.2.840.2", "IM0001"]
