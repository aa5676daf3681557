"""DICOM labels of another patient, study or frame of reference are refused, wherever they lie."""

import numpy as np
import pydicom
import pytest

from samtune.data.volumes.labels import LabelRules, read_volume_labels
from samtune.errors import UserError

highdicom = pytest.importorskip("highdicom")
SHAPE = (4, 8, 6)
MASK = np.zeros(SHAPE, bool)
MASK[1:3, 2:5, 1:4] = True
NAMES = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "frame of reference": "FrameOfReferenceUID",
}
FOREIGN = LabelRules(with_foreign=True)


@pytest.fixture
def folder(write_slices):
    return write_slices("s", np.zeros(SHAPE, np.int16))


def header(folder):
    return pydicom.dcmread(next(folder.iterdir()))


def seg(path, folder, **changed):
    """A SEG file of images with some attributes changed."""
    found = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda d: d.InstanceNumber)
    for dataset in found:
        for name, value in changed.items():
            setattr(dataset, name, value)
    code, uid = pydicom.sr.codedict.codes.SCT.Tissue, pydicom.uid.generate_uid
    kind = highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
    highdicom.seg.Segmentation(
        found, MASK.astype(np.uint8), "BINARY",
        [highdicom.seg.SegmentDescription(1, "lesion", code, code, kind)],
        uid(), 2, uid(), 1, "samtune", "test", "1", "0",
    ).save_as(path)  # fmt: skip
    return path


def structures(path, write_rtstruct, frame, **changed):
    """An RTSTRUCT file of a frame of reference."""
    ring = [[10, 20, 33], [12, 20, 33], [12, 25, 33], [10, 25, 33]]
    dataset = pydicom.dcmread(write_rtstruct(path, {"GTV": [ring]}))
    dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = frame
    referred = pydicom.Dataset()
    referred.FrameOfReferenceUID = frame
    dataset.ReferencedFrameOfReferenceSequence = [referred]
    for name, value in changed.items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path


def test_those_of_the_image_are_read(tmp_path, folder, write_rtstruct):
    assert read_volume_labels(seg(tmp_path / "a.dcm", folder), folder).names == {1: "lesion"}
    own = header(folder)
    about = {name: own.get(name) for name in NAMES.values()}
    about["FrameOfReferenceUID"] = "1.2.3"  # of the file itself: that of its structures counts
    path = structures(tmp_path / "b.dcm", write_rtstruct, own.FrameOfReferenceUID, **about)
    assert read_volume_labels(path, folder).names == {1: "GTV"}


@pytest.mark.parametrize("kind", NAMES)
def test_a_seg_of_another_is_refused_unless_it_is_asked_for(tmp_path, folder, kind):
    path, own = seg(tmp_path / "a.dcm", folder, **{NAMES[kind]: "1.2.99"}), header(folder)
    with pytest.raises(UserError, match=rf"another {kind} \(1\.2\.99\) than its image") as error:
        read_volume_labels(path, folder)
    assert f"({own.get(NAMES[kind])})" in str(error.value)
    assert "with_foreign_labels true" in str(error.value)
    assert read_volume_labels(path, folder, FOREIGN).layers.sum() == MASK.sum()


@pytest.mark.parametrize("kind", NAMES)
def test_a_structure_set_of_another_is_refused_unless_it_is_asked_for(
    tmp_path, folder, write_rtstruct, kind
):
    own = header(folder)
    about = {name: own.get(name) for name in NAMES.values()} | {NAMES[kind]: "1.2.99"}
    frame = about.pop("FrameOfReferenceUID")
    path = structures(tmp_path / "b.dcm", write_rtstruct, frame, **about)
    with pytest.raises(UserError, match=rf"another {kind} \(1\.2\.99\)"):
        read_volume_labels(path, folder)
    assert read_volume_labels(path, folder, FOREIGN).layers.any()


def test_a_study_that_is_referred_to_is_meant(tmp_path, folder, write_rtstruct):
    own, study = header(folder), pydicom.Dataset()
    study.ReferencedSOPInstanceUID = own.StudyInstanceUID
    path = structures(
        tmp_path / "b.dcm", write_rtstruct, own.FrameOfReferenceUID, StudyInstanceUID="1.2.99"
    )
    dataset = pydicom.dcmread(path)
    dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence = [study]
    dataset.save_as(path)
    assert read_volume_labels(path, folder).layers.any()
