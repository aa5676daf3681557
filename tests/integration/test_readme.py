"""The README's commands and code are run as they stand there, on small data and the small model."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from samtune.cli import main
from tests.conftest import write_discs

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder like the reader's: configs/, my_data/ and nothing else."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "configs").symlink_to(ROOT / "configs")
    write_discs(folder, "my_data", 8)
    (folder / "my_data" / "boxes.csv").write_text("file,x0,y0,x1,y1\n0.png,10,10,40,40\n")
    write_scene(folder)
    return folder


def write_scene(folder):
    """scene.tif of 64 x 64, and boxes.geojson with a box of the class `roof`."""
    rasterio = pytest.importorskip("rasterio")
    values = np.random.default_rng(0).integers(60, 200, (3, 64, 64), np.uint8)
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", count=3, height=64, width=64, dtype="uint8",
        crs="EPSG:4326", transform=rasterio.Affine(1e-5, 0, 10, 0, -1e-5, 50),
    ) as file:  # fmt: skip
        file.write(values)
    ring = [[10.0001, 49.9999], [10.0004, 49.9999], [10.0004, 49.9996], [10.0001, 49.9999]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    feature = {"type": "Feature", "properties": {"kind": "roof"}, "geometry": shape}
    collection = {"type": "FeatureCollection", "features": [feature]}
    (folder / "boxes.geojson").write_text(json.dumps(collection))


@pytest.fixture(scope="module")
def commands_ran(place, fast):
    """Exit codes of the README's samtune commands, in order."""
    codes = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("samtune.commands.evaluation_options.NUM_GENERAL", 3)
        for line in "\n".join(blocks("bash")).splitlines():
            words = shlex.split(line, comments=True)
            is_fit = "--config" in words or "learning-curve" in words
            quick = [*fast, "--trainer.max_epochs", "1"] if is_fit else []
            codes[line] = main([*words[1:], *quick])
    return codes


def test_all_commands_run(commands_ran):
    assert len(commands_ran) >= 4
    assert set(commands_ran.values()) == {0}


def test_the_python_example_runs(commands_ran, place, monkeypatch):
    monkeypatch.chdir(place)
    names = {
        "path": place / "my_data" / "images" / "0.png",
        "point_coords": np.array([[30, 40]]),
        "point_labels": np.array([1]),
    }
    exec(blocks("python")[0], names)  # noqa: S102
    assert names["masks"].shape == (3, 64, 64)
    assert names["scores"].shape == (3,)


def test_the_two_commands_exist():
    for line in blocks("")[0].splitlines():
        script = ROOT / line.split()[0]
        assert script.stat().st_mode & 0o111


def test_every_flag_in_the_readme_is_a_setting(capsys):
    commands = ("fit", "evaluate", "scale", "learning-curve", "predict", "export", "prelabel")
    for command in (*commands, "segment", "segment-volume"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
    known = set(re.findall(r"--[a-z][a-z_.0-9]+[a-z0-9_]", capsys.readouterr().out))
    known |= {
        "--resume",
        "--images",
        "--num",
        "--boxes",
        "--threads",
        "--repeat",
        "--model",
        "--only",
    }  # of other scripts
    known |= {"--nnodes", "--nproc", "--nodes", "--ntasks", "--gpus"}  # torchrun's and sbatch's
    assert set(re.findall(r"--[a-z][a-z_.0-9]+[a-z0-9_]", README)) <= known
