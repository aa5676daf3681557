"""DICOM SEG as highdicom writes it."""

import numpy as np
import pydicom
import pytest


def write_seg(path, folder, masks, kind="BINARY"):
    """A file of boolean (slices, rows, columns) masks by name, drawn on a series."""
    highdicom = pytest.importorskip("highdicom")
    code = pydicom.sr.codedict.codes
    descriptions = [
        highdicom.seg.SegmentDescription(
            number, name, code.SCT.Tissue, code.SCT.Tissue,
            highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(masks, start=1)
    ]  # fmt: skip
    values = np.stack(list(masks.values()), -1)
    values = values.astype(np.float32) if kind == "FRACTIONAL" else values.astype(np.uint8)
    values = values[..., 0] if kind == "LABELMAP" else values
    highdicom.seg.Segmentation(
        in_order(folder), values, kind, descriptions, pydicom.uid.generate_uid(), 2,
        pydicom.uid.generate_uid(), 1, "samtune", "test", "1", "0",
    ).save_as(path)  # fmt: skip
    return path


def in_order(folder):
    """The data sets of a series."""
    found = [pydicom.dcmread(file) for file in folder.iterdir()]
    return sorted(found, key=lambda dataset: dataset.InstanceNumber)
