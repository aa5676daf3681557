"""What all tests share: small pictures with discs, the real images, one thread each."""

import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"
# networks this small lose more time to threads that wait for each other than they win
torch.set_num_threads(1)
torch.set_flush_denormal(True)


def draw_discs(size, num_discs, seed):
    """A noisy RGB picture with bright discs, and their label map."""
    rng = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    labels = np.zeros(size, np.uint16)
    image = rng.integers(20, 60, (height, width, 3))
    for number in range(1, num_discs + 1):
        radius = rng.integers(height // 12, height // 6)
        y, x = rng.integers(radius, height - radius), rng.integers(radius, width - radius)
        disc = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
        disc &= labels == 0
        labels[disc] = number
        image[disc] += rng.integers(90, 180, 3)
    return np.clip(image, 0, 255).astype(np.uint8), labels


def write_discs(folder, split, num_images, size=(64, 64), num_discs=3, seed=0):
    for kind in ("images", "labels"):
        (folder / split / kind).mkdir(parents=True, exist_ok=True)
    for number in range(num_images):
        image, labels = draw_discs(size, num_discs, seed + number)
        Image.fromarray(image).save(folder / split / "images" / f"{number}.png")
        Image.fromarray(labels).save(folder / split / "labels" / f"{number}.png")


@pytest.fixture(scope="session")
def discs(tmp_path_factory):
    """A mask folder with train, val and test; it must not be changed."""
    folder = tmp_path_factory.mktemp("discs")
    for offset, (split, count) in enumerate((("train", 4), ("val", 2), ("test", 2))):
        write_discs(folder, split, count, seed=100 * offset)
    return folder


@pytest.fixture(scope="session")
def load_script():
    """A function that loads a script, which is in no package, by its name."""

    def load(name):
        path = Path(__file__).parents[1] / "scripts" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def real_data():
    """The folder of real images."""
    if not os.environ.get("SAMTUNE_DATA"):
        pytest.skip("SAMTUNE_DATA does not name the real images")
    return Path(os.environ["SAMTUNE_DATA"])


# Side of nano's input where a fit is small, of its own 256; the pictures with discs have 64
SIDE = 128
FAST = [
    "--base", "nano", "--image_size", str(SIDE), "--data.num_workers", "0",
    "--trainer.accelerator", "cpu", "--data.max_objects", "3", "--choose", "false",
    "--data.windows", "0", "--model.num_corrections", "1", "--trainer.log_every_n_steps", "1",
    "--model.loss.general", "0",
]  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def _few_general_pictures():
    """A choice at the end asks fewer pictures than a real one, so that a fit takes seconds."""
    from samtune.tasks import questions, sharpening_answers
    from samtune.training import sharpening

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_GENERAL", "_GENERAL_OBJECTS", "_OBJECTS"):
            patch.setattr(questions, name, 2)
        patch.setattr(sharpening_answers, "_GENERAL", 2)
        for name, value in {"_BATCH": 8, "_GENERAL": 3, "_KNOWN": 200}.items():
            patch.setattr(sharpening, name, value)
        yield


@pytest.fixture(scope="session")
def fast():
    """Flags that make a fit small."""
    return FAST


@pytest.fixture(scope="session")
def lora_run(discs, tmp_path_factory):
    """A finished run of two epochs with LoRA; it must not be changed."""
    from samtune.cli import main

    run = tmp_path_factory.mktemp("runs") / "lora"
    arguments = ["fit", "--data.path", str(discs), "--run", str(run), "--trainer.max_epochs", "2"]
    assert main([*arguments, *FAST]) == 0
    return run


@pytest.fixture
def write_slices(tmp_path):
    """Writes a DICOM series of CT, a file for each slice of (slices, rows, columns) stored values.

    Rows run to the back, columns to the left, slices to the head, from (10, 20, 30) mm; `spacing` is
    of slices, rows, columns; other arguments become attributes.
    """
    pytest.importorskip("highdicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    def write(folder, values, spacing=(3.0, 0.8, 0.5), **attributes):
        place = tmp_path / folder
        place.mkdir(parents=True, exist_ok=True)
        series = {name: generate_uid() for name in
                  ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}  # fmt: skip
        for number, plane in enumerate(values):
            meta = FileMetaDataset()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            meta.MediaStorageSOPClassUID = CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            # file names in another order than the slices
            file = place / f"{(number * 7) % 100:03d}.dcm"
            dataset = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
            plain = {
                "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
                "PatientName": "Phantom", "PatientID": "1", "PatientBirthDate": "", "PatientSex": "",
                "StudyDate": "", "StudyTime": "", "StudyID": "", "AccessionNumber": "",
                "ReferringPhysicianName": "", "SeriesNumber": 1, "Manufacturer": "",
                "Modality": "CT", "InstanceNumber": number + 1,
                "Rows": plane.shape[0], "Columns": plane.shape[1], "SamplesPerPixel": 1,
                "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
                "HighBit": 15, "PixelRepresentation": 1, "PixelSpacing": list(spacing[1:]),
                "SliceThickness": spacing[0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "ImagePositionPatient": [10, 20, 30 + spacing[0] * number],
                "RescaleSlope": 1, "RescaleIntercept": 0, "PositionReferenceIndicator": "",
            }  # fmt: skip
            for name, value in {**plain, **series, **attributes}.items():
                setattr(dataset, name, value)
            dataset.PixelData = plane.astype(np.int16).tobytes()
            dataset.save_as(file, enforce_file_format=True)
        return place

    return write


def set_reading(run, **reading):
    """Let the model of a run be one that saw its images otherwise."""
    file = run / "adapter" / "samtune.json"
    content = json.loads(file.read_text())
    content["reading"] |= reading
    file.write_text(json.dumps(content))
