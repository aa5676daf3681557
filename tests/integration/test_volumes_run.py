"""From volumes to a report in millimetres."""

import json

import nibabel as nib
import numpy as np
import pytest

from samtune.cli import main


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Six volumes of 64 x 64 x 4 voxels with a bright ball each; 0.5 mm in the plane."""
    folder = tmp_path_factory.mktemp("volumes")
    rng = np.random.default_rng(0)
    x, y = np.mgrid[:64, :64]
    for number in range(6):
        centre, radius = rng.integers(20, 44, 2), rng.integers(6, 14)
        ball = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2
        labels = np.repeat(ball[..., None], 4, axis=2).astype(np.uint8)
        values = (rng.normal(100, 20, labels.shape) + 200 * labels).astype(np.int16)
        for kind, voxels in (("images", values), ("labels", labels)):
            (folder / kind).mkdir(exist_ok=True)
            image = nib.Nifti1Image(voxels, np.diag([0.5, 0.5, 3.0, 1.0]))
            nib.save(image, folder / kind / f"p{number}.nii.gz")
    return folder


def test_training_and_evaluation_by_volume_in_millimetres(volumes, fast, tmp_path):
    run = tmp_path / "run"
    arguments = ["fit", "--data.path", str(volumes), "--run", str(run), "--trainer.max_steps", "2"]
    assert main([*arguments, "--data.test_fraction", "0.4", *fast]) == 0
    distances = {}
    for name, flags in (("own", []), ("pixels", ["--spacing", "1", "1", "--unit", "px"])):
        out = tmp_path / name
        arguments = ["evaluate", str(run), "--protocols", "box", "--general", "none", *flags]
        assert main([*arguments, "--out", str(out)]) == 0
        found = json.loads((out / "results.json").read_text())
        distances[found["about"]["spacing_unit"]] = found["protocols"]["box"]["base"]["hd95"]
        block = found["protocols"]["box"]
        assert block["num_images"] == 4 * block["num_clusters"]
    assert distances["mm"] == pytest.approx(distances["px"] / 2)
