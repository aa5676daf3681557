"""Labels go back to where their image is stored: every orientation, format, and DICOM SEG."""

from dataclasses import replace
from functools import partial

import nibabel as nib
import numpy as np
import pydicom
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from samtune.data.volumes import dicom_seg
from samtune.data.volumes.labels import read_volume_labels
from samtune.data.volumes.placement import LPS_TO_RAS
from samtune.data.volumes.segment_codes import parse_property
from samtune.data.volumes.segments import Segment, merged
from samtune.data.volumes.voxels import read_geometry, read_voxels
from samtune.data.volumes.writing import may_overlap, require_writable, write_volume_labels
from samtune.errors import UserError

sitk = pytest.importorskip("SimpleITK")
AFFINE = np.array(
    [[0.5, 0.02, 0, -7.25], [-0.02, 0.8, 0.1, 11.5], [0, -0.1, 3.0, 4.0], [0, 0, 0, 1]]
)
CODES = [
    "".join(code)
    for axes in ("RAS", "RSA", "ARS", "ASR", "SRA", "SAR")
    for code in [axes, axes.translate(str.maketrans("RAS", "LPI")), axes.replace("A", "P")]
]


def segment(number, mask, name=""):
    return Segment(number, name or str(number), int(mask.sum()), lambda: mask)


@pytest.fixture
def labels():
    """Labels in right-anterior-superior order, no two axes alike."""
    values = np.random.default_rng(3).integers(0, 3, (5, 6, 4))
    return np.where(values == 2, 7, values).astype(np.int16)


@pytest.fixture
def segments(labels):
    return [segment(value, labels == value) for value in (1, 7)]


def stored(values, codes, affine=AFFINE):
    image = nib.Nifti1Image(values, affine)
    turned = image.as_reoriented(ornt_transform(io_orientation(affine), axcodes2ornt(codes)))
    return np.asarray(turned.dataobj), turned.affine


def save(path, array, affine):
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(array, affine), path)
        return path
    lps = LPS_TO_RAS @ affine
    image = sitk.GetImageFromArray(array.T)
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    image.SetSpacing(sizes.tolist())
    image.SetDirection((lps[:3, :3] / sizes).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path))
    return path


PAIRS = [(codes, ".nii.gz", (".nii.gz", ".nrrd")) for codes in CODES]
PAIRS += [("PIR", suffix, (".nii.gz", ".nii", ".nrrd", ".mha")) for suffix in (".nrrd", ".mha")]


@pytest.mark.parametrize(("codes", "suffix", "outs"), PAIRS)
def test_every_orientation_is_read_back_equal(tmp_path, labels, segments, codes, suffix, outs):
    values, affine = stored(np.zeros(labels.shape, np.int16), codes)
    image = save(tmp_path / f"image{suffix}", values, affine)
    for out in outs:
        path = tmp_path / f"labels{out}"
        write_volume_labels(path, image, segments)
        np.testing.assert_array_equal(read_volume_labels(path, image).layers[0], labels)
        written, expected = read_geometry(path), read_geometry(image)
        assert written.shape == expected.shape
        np.testing.assert_allclose(written.affine, expected.affine, atol=1e-5)


def test_nifti_keeps_the_affines_to_the_bit_and_their_codes(tmp_path, labels, segments):
    values, affine = stored(np.zeros(labels.shape, np.int16), "LPS", np.diag([0.7, 0.9, 3.3, 1]))
    source = nib.Nifti1Image(values, affine)
    source.set_qform(affine, 1)
    source.set_sform(affine, 4)
    source.header["descrip"] = b"a patient's name"
    nib.save(source, tmp_path / "image.nii.gz")
    write_volume_labels(tmp_path / "l.nii.gz", tmp_path / "image.nii.gz", segments)
    kept, written = nib.load(tmp_path / "image.nii.gz"), nib.load(tmp_path / "l.nii.gz")
    np.testing.assert_array_equal(written.affine, kept.affine)
    for name in ("qform_code", "sform_code", "srow_x", "quatern_b", "qoffset_x", "pixdim"):
        np.testing.assert_array_equal(written.header[name], kept.header[name])
    assert written.header["descrip"] == b""
    assert written.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(written.dataobj), stored(labels, "LPS")[0])


def test_nifti_2_and_a_fourth_axis_of_one(tmp_path, labels, segments):
    values = np.zeros((*labels.shape, 1), np.float64)
    nib.save(nib.Nifti2Image(values, AFFINE), tmp_path / "i.nii")
    write_volume_labels(tmp_path / "l.nii", tmp_path / "i.nii", segments)
    assert nib.load(tmp_path / "l.nii").shape == labels.shape
    found = read_volume_labels(tmp_path / "l.nii", tmp_path / "i.nii")
    np.testing.assert_array_equal(found.layers[0], labels)


def test_many_objects_take_16_bits(tmp_path):
    image = save(tmp_path / "i.nii.gz", np.zeros((3, 3, 3), np.int16), AFFINE)
    mask = np.zeros((3, 3, 3), np.bool_)
    mask[1, 2, 0] = True
    write_volume_labels(tmp_path / "l.nii.gz", image, [segment(40_000, mask)])
    assert nib.load(tmp_path / "l.nii.gz").get_data_dtype() == np.uint16
    assert read_voxels(tmp_path / "l.nii.gz").max() == 40_000
    with pytest.raises(UserError, match="up to 65535"):
        write_volume_labels(tmp_path / "l.nii.gz", image, [segment(70_000, mask)])


def test_the_smaller_of_two_that_overlap_is_in_front():
    organ, lesion = np.ones((2, 3, 3), np.bool_), np.zeros((2, 3, 3), np.bool_)
    lesion[0, 1, 1] = True
    for order in ([2, 1], [1, 2]):
        parts = {1: segment(1, lesion), 2: segment(2, organ)}
        values = merged([parts[number] for number in order], organ.shape)
        assert values[0, 1, 1] == 1
        assert (values == 2).sum() == 17


class TestDicomSeg:
    def masks(self):
        rng = np.random.default_rng(0)
        return [rng.random((6, 8, 5)) > 0.6 for _ in range(2)]

    def image(self, write_slices):
        values = np.random.default_rng(1).integers(-100, 100, (5, 8, 6))
        return write_slices("ct", values, PatientName="Phantom^Test")

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("with_overlap", [False, True])
    def test_is_read_back_equal(self, tmp_path, write_slices, with_overlap):
        image, (liver, lesion) = self.image(write_slices), self.masks()
        liver = liver if with_overlap else liver & ~lesion
        path = tmp_path / "seg.dcm"
        segments = [segment(1, liver, "liver"), segment(2, lesion, "lesion " * 20)]
        write_volume_labels(path, image, segments)
        found = read_volume_labels(path, image)
        assert len(found.layers) == 1 + with_overlap
        np.testing.assert_array_equal((found.layers == 1).any(0), liver)
        np.testing.assert_array_equal((found.layers == 2).any(0), lesion)
        assert found.names == {1: "liver", 2: ("lesion " * 20)[:64].strip()}

    @pytest.mark.filterwarnings("ignore")
    def test_says_who_drew_it_and_for_whom(self, tmp_path, write_slices):
        image, mask = self.image(write_slices), self.masks()[0]
        drawn = [segment(5, mask, "liver"), Segment(9, "b", int(mask.sum()), lambda: mask, True)]
        write_volume_labels(tmp_path / "seg.dcm", image, drawn)
        dataset = pydicom.dcmread(tmp_path / "seg.dcm")
        kinds = [item.SegmentAlgorithmType for item in dataset.SegmentSequence]
        assert kinds == ["SEMIAUTOMATIC", "AUTOMATIC"]
        assert [item.SegmentNumber for item in dataset.SegmentSequence] == [1, 2]
        assert {item.SegmentAlgorithmName for item in dataset.SegmentSequence} == {"samtune"}
        source = pydicom.dcmread(next(image.iterdir()))
        assert dataset.PatientName == source.PatientName
        assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID

    @pytest.mark.filterwarnings("ignore")
    def test_of_a_multi_frame_file(self, tmp_path, write_slices):
        legacy = pytest.importorskip("highdicom.legacy")
        slices = [pydicom.dcmread(file) for file in self.image(write_slices).iterdir()]
        slices.sort(key=lambda dataset: -dataset.InstanceNumber)
        new = pydicom.uid.generate_uid
        image, mask = tmp_path / "frames.dcm", self.masks()[0]
        for dataset in slices:
            dataset.ImageType, dataset.LossyImageCompression = (
                ["ORIGINAL", "PRIMARY", "AXIAL"],
                "00",
            )
        legacy.LegacyConvertedEnhancedCTImage(slices, new(), 1, new(), 1).save_as(image)
        path = tmp_path / "seg.dcm"
        write_volume_labels(path, image, [segment(1, mask, "liver")])
        np.testing.assert_array_equal(read_volume_labels(path, image).layers[0] == 1, mask)

    @pytest.mark.filterwarnings("ignore")
    def test_empty_objects_are_kept_and_none_at_all_is_said(self, tmp_path, write_slices):
        image, (liver, _) = self.image(write_slices), self.masks()
        empty = np.zeros_like(liver)
        write_volume_labels(tmp_path / "a.dcm", image, [segment(1, empty, "e"), segment(2, liver)])
        found = read_volume_labels(tmp_path / "a.dcm", image)
        assert found.names == {1: "e", 2: "2"}
        np.testing.assert_array_equal(found.layers[0], liver * 2)
        write_volume_labels(tmp_path / "b.dcm", image, [segment(1, empty, "e")])
        with pytest.raises(UserError, match="none was found"):
            write_volume_labels(tmp_path / "c.dcm", image, [])

    @pytest.mark.filterwarnings("ignore")
    def test_names_of_any_script_are_one_value_each(self, tmp_path, write_slices):
        values, name = np.zeros((5, 8, 6)), "Müller^Jörg"
        image = write_slices("ct", values, SpecificCharacterSet="ISO_IR 100", PatientName=name)
        mask = self.masks()[0]
        names = ["腫瘍", "a\\b", "x\ty\x07", "é" * 70, "\ud800", "\\"]
        segments = [segment(n, mask, name) for n, name in enumerate(names, start=1)]
        write_volume_labels(tmp_path / "seg.dcm", image, segments)
        dataset = pydicom.dcmread(tmp_path / "seg.dcm")
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert dataset.PatientName == name
        labels = [item.SegmentLabel for item in dataset.SegmentSequence]
        assert labels == ["腫瘍", "a/b", "x y", "é" * 64, "5", "/"]

    @pytest.mark.filterwarnings("ignore")
    def test_what_an_object_is_can_be_said(self, tmp_path, write_slices):
        image, mask = self.image(write_slices), self.masks()[0]
        lesion = replace(segment(1, mask), kind=parse_property("SCT:52988006:Lesion"))
        write_volume_labels(tmp_path / "seg.dcm", image, [lesion, segment(2, ~mask)])
        items = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
        told = [
            (item.SegmentedPropertyCategoryCodeSequence[0].CodeValue,
             item.SegmentedPropertyTypeCodeSequence[0].CodeValue)
            for item in items
        ]  # fmt: skip
        assert told == [("49755003", "52988006"), ("85756007", "85756007")]

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("is_automatic", [True, False])
    def test_many_that_overlap_are_never_all_in_memory(
        self, tmp_path, write_slices, monkeypatch, is_automatic
    ):
        """Found ones become one label volume, prompted ones too where there are too many voxels."""
        monkeypatch.setattr(
            dicom_seg, "_MOST_BYTES", 2**30 if is_automatic else 20 * 5 * 64 * 64 - 1
        )
        image = write_slices("ct", np.zeros((5, 64, 64)))
        shape, path = (64, 64, 5), tmp_path / "seg.dcm"
        boxes = [np.s_[n : n + 20, n : 60 - n, :] for n in range(20)]

        def drawn(box):
            mask = np.zeros(shape, np.bool_)
            mask[box] = True
            return mask

        segments = [
            Segment(n, str(n), int(drawn(box).sum()), partial(drawn, box), is_automatic)
            for n, box in enumerate(boxes, start=1)
        ]
        monkeypatch.setattr(dicom_seg, "_stacked", lambda *_: pytest.fail("all at once"))
        write_volume_labels(path, image, segments)
        found = read_volume_labels(path, image).layers
        np.testing.assert_array_equal(found, merged(segments, shape)[None])
        assert not is_automatic or may_overlap(path, len(segments), 5 * 64 * 64)
        assert not may_overlap(tmp_path / "l.nii", 2, 5)

    def test_a_series_can_have_nifti_labels(self, tmp_path, write_slices):
        image, mask = self.image(write_slices), self.masks()[0]
        write_volume_labels(tmp_path / "l.nii.gz", image, [segment(3, mask)])
        found = read_volume_labels(tmp_path / "l.nii.gz", image)
        np.testing.assert_array_equal(found.layers[0], mask * 3)
        expected = read_geometry(image)
        np.testing.assert_allclose(nib.load(tmp_path / "l.nii.gz").affine, expected.affine)

    def test_is_refused_of_other_images_and_films(self, tmp_path, write_slices):
        image = save(tmp_path / "i.nii.gz", np.zeros((3, 3, 3), np.int16), AFFINE)
        with pytest.raises(UserError, match="is none: give a name"):
            require_writable(tmp_path / "l.dcm", image)
        file = next(write_slices("film", np.zeros((1, 4, 4))).iterdir())
        film = pydicom.dcmread(file)
        film.NumberOfFrames, film.PixelData = 3, np.zeros((3, 4, 4), np.int16).tobytes()
        del film.ImagePositionPatient, film.FrameOfReferenceUID
        film.save_as(file)
        mask = np.ones((4, 4, 3), np.bool_)
        with pytest.raises(UserError, match="film") as error:
            write_volume_labels(tmp_path / "l.dcm", file, [segment(1, mask)])
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_labels_of_an_image_in_micrometres_lie_on_it(tmp_path, suffix):
    source = nib.Nifti1Image(np.zeros((5, 4, 3), np.int16), np.diag([5.0, 5, 20, 1]))
    source.header.set_xyzt_units("micron")
    nib.save(source, tmp_path / "i.nii.gz")
    mask = np.zeros((5, 4, 3), np.bool_)
    mask[1:3, 2] = True
    path = tmp_path / f"l{suffix}"
    write_volume_labels(path, tmp_path / "i.nii.gz", [segment(1, mask)])
    np.testing.assert_array_equal(read_volume_labels(path, tmp_path / "i.nii.gz").layers[0], mask)
    assert read_geometry(path).spacing == pytest.approx((0.005, 0.005, 0.02))
    if suffix == ".nii.gz":
        written = nib.load(path)
        np.testing.assert_array_equal(written.affine, source.affine)
        assert written.header.get_xyzt_units()[0] == "micron"


def test_an_unknown_suffix_is_said(tmp_path):
    with pytest.raises(UserError, match=r"l\.png has no suffix that is known: give \.nii\.gz"):
        require_writable(tmp_path / "l.png", tmp_path)
