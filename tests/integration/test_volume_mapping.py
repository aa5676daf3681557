"""Classes of a volume's voxels by a semantic head: interrupted or killed, the same call goes on."""

import os
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest
import torch

import samtune
from samtune.files import partial_folder
from samtune.heads.semantic import SemanticHead
from samtune.inference.semantic import ClassMapper
from samtune.inference.volumes.objects import report_path
from samtune.models.loading import load_model
from samtune.models.saving import save_tuned

SLICES = 8


def save_head(run, seed=0):
    """A head that knows nothing, so that classes are all over the place, and slices differ."""
    torch.manual_seed(seed)
    sam = load_model("nano", image_size=64)
    settings = {"tile": 0, "classes": ["background", "liver", "vessel"], "weights": [1.0] * 3}
    sam.heads["semantic"] = SemanticHead(sam.encoded, settings).eval()
    save_tuned(sam, run)


@pytest.fixture
def place(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (40, 32, SLICES)).astype(np.float32)
    for number in range(SLICES):
        values[4 : 12 + 3 * number, 8:24, number] += 400
    nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "ct.nii.gz")
    save_head(tmp_path / "run")
    return tmp_path


def segment(place, name="classes.nii.gz"):
    samtune.segment_volume(place / "run", place / "ct.nii.gz", out=place / name)
    return place / name


def voxels(path):
    return np.asarray(nibabel.load(path).dataobj)


@pytest.fixture
def asked(monkeypatch):
    """How many slices the head was asked about; after `limit` of them somebody interrupts."""
    counts, labels = {"slices": 0, "limit": 10**6}, ClassMapper.labels

    def counted(self, image):
        if counts["slices"] == counts["limit"]:
            raise KeyboardInterrupt
        counts["slices"] += 1
        return labels(self, image)

    monkeypatch.setattr(ClassMapper, "labels", counted)
    return counts


def test_what_was_interrupted_goes_on_to_the_same_labels(place, asked):
    whole = segment(place, "whole.nii.gz")
    assert asked["slices"] == SLICES
    assert len(np.unique(voxels(whole))) > 1
    asked.update(slices=0, limit=3)
    with pytest.raises(KeyboardInterrupt):
        segment(place)
    assert not (place / "classes.nii.gz").exists()
    asked.update(slices=0, limit=10**6)
    np.testing.assert_array_equal(voxels(segment(place)), voxels(whole))
    assert asked["slices"] == SLICES - 3
    reports = [report_path(place / name).read_text() for name in ("classes.nii.gz", "whole.nii.gz")]
    assert reports[0].replace("classes.nii.gz", "") == reports[1].replace("whole.nii.gz", "")
    assert not partial_folder(report_path(place / "classes.nii.gz")).exists()


def test_another_head_takes_nothing_over(place, asked):
    asked["limit"] = 3
    with pytest.raises(KeyboardInterrupt):
        segment(place)
    save_head(place / "run", seed=1)
    asked.update(slices=0, limit=10**6)
    segment(place)
    assert asked["slices"] == SLICES


@pytest.mark.slow
def test_a_killed_process_goes_on(place):
    whole = segment(place, "whole.nii.gz")
    command = [
        sys.executable, "-m", "samtune.cli", "segment-volume", str(place / "run"),
        str(place / "ct.nii.gz"), "--out", str(place / "classes.nii.gz"),
    ]  # fmt: skip
    partial = partial_folder(report_path(place / "classes.nii.gz"))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, **quiet)
    while process.poll() is None and len(list(partial.glob("*.json"))) < 2:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command, check=True, timeout=300, **quiet)
    np.testing.assert_array_equal(voxels(place / "classes.nii.gz"), voxels(whole))
