"""What the README promises holds: capabilities run from Python, and its blocks run as they stand.

Capabilities run as functions on tiny data with a tuned model of 64 x 64 pixels, print nothing, and hand
back what the files say. (`test_documented_commands.py` reads the commands.)
"""

import csv
import io
import json
import shlex
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

import samtune
from samtune.cli import main
from samtune.errors import UserError
from samtune.tasks.results import Result
from tests.conftest import write_discs
from tests.integration.documents import DOCS, README, ROOT, blocks, commands

SMALL = {"num_workers": 0, "max_objects": 2, "val_objects": 2, "batch_size": 2, "windows": 0}
QUICK = {"accelerator": "cpu", "log_every_n_steps": 1, "num_sanity_val_steps": 0}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder like the reader's: my_data/ with a detector's boxes, and nothing else."""
    folder = tmp_path_factory.mktemp("readme")
    for offset, (split, count) in enumerate((("train", 2), ("val", 2), ("test", 2))):
        write_discs(folder / "my_data", split, count, seed=100 * offset)
    (folder / "boxes.csv").write_text("file,x0,y0,x1,y1\n0.png,10,10,40,40\n1.png,5,5,30,30\n")
    return folder


@pytest.fixture(scope="module")
def tuned(place):
    """A finished run of one step, which is an epoch, and what was printed; it must not be changed."""
    told = io.StringIO()
    with redirect_stdout(told):
        run = samtune.fit(
            {"path": str(place / "my_data"), **SMALL}, base="nano", image_size=64,
            run=str(place / "runs" / "mine"), trainer={"max_steps": 1, **QUICK},
            model={"num_corrections": 0},
        )  # fmt: skip
    return run, told.getvalue()


@pytest.fixture(scope="module")
def run(tuned):
    """The run as text."""
    return str(tuned[0])


@pytest.fixture
def copied(run, tmp_path):
    """A run that may be changed."""
    return str(shutil.copytree(run, tmp_path / "run"))


@pytest.fixture
def data(place):
    return str(place / "my_data")


@pytest.fixture
def images(place):
    return str(place / "my_data" / "test" / "images")


def require_result(result, capsys, *names):
    """A result that says something, with tables of these names; nothing was printed."""
    assert capsys.readouterr().out == ""
    assert isinstance(result, Result)
    assert result.headline
    assert str(result)
    assert tuple(result.tables) == names
    for rows in result.tables.values():
        assert isinstance(rows, list)
        assert all(isinstance(row, dict) for row in rows)
    page = result._repr_html_()
    assert all(f"<p>{name}</p>" in page for name in names)
    if names:
        first = result.tables[names[0]]
        assert first
        frame = result.to_pandas()
        assert len(frame) == len(first)
        assert set(frame.columns) == set().union(*first)


def read(file):
    return json.loads(Path(file).read_text())


def test_init(data, tmp_path, capsys):
    out = str(tmp_path / "mine.yaml")
    result = samtune.init(data, out=out, base="nano")
    require_result(result, capsys, "settings")
    assert str(result.config) == out
    assert out in result.headline
    settings = yaml.safe_load(Path(out).read_text())
    assert settings["base"] == "nano"
    assert settings["data"]["path"] == data
    shown = {row["setting"]: row["value"] for row in result.tables["settings"]}
    assert shown["data.path"] == data


def test_check(data, tmp_path, capsys):
    page = str(tmp_path / "page.html")
    result = samtune.check(data, page=page, max_images=1, image_size=64)
    require_result(result, capsys, "splits", "findings")
    assert result.verdict in ("ok", "warnings")
    assert result.headline.startswith(result.found.sentence)
    assert [row["images"] for row in result.tables["splits"]] == [2, 2, 2]
    assert Path(page) == result.page
    assert "<html" in Path(page).read_text()


def test_convert(data, tmp_path, capsys):
    out = str(tmp_path / "coco")
    result = samtune.convert(data, to="coco", out=out)
    require_result(result, capsys, "splits")
    assert str(result.folder) == out
    for row in result.tables["splits"]:
        written = read(Path(out) / f"{row['split']}.json")
        assert row["images"] == len(written["images"]) == 2
        assert row["objects"] == len(written["annotations"]) > 0


def test_fetch(tmp_path, capsys):
    from tests.data.fetch.published import kvasir_seg  # downloads: tests/data/fetch

    archives = [str(archive) for archive in kvasir_seg(tmp_path)]
    result = samtune.fetch("kvasir_seg", archives=archives, out=str(tmp_path / "set"))
    require_result(result, capsys, "splits")
    assert (result.folder / "config.yaml").is_file()
    assert sum(row["images"] for row in result.tables["splits"]) == 10
    assert len(list((result.folder / "images").iterdir())) == 10
    assert "train 6, val 2, test 2" in result.headline


def best_of(run):
    return max(row["val/miou"] for row in run.metrics if "val/miou" in row)


def test_fit(tuned, place, capsys):
    result, told = tuned
    assert told == ""
    require_result(result, capsys, "metrics")
    assert str(result) == str(place / "runs" / "mine")
    assert result.headline == f"{result}: best validation mIoU {best_of(result):.3f}"
    files = ("config.yaml", "metrics.csv", "adapter", "checkpoints/last.ckpt")
    assert all((result.path / name).exists() for name in files)
    assert [row["step"] for row in result.metrics if "train/loss" in row] == [0]
    assert result.config["image_size"] == 64
    assert result.load().image_size == 64


@pytest.mark.slow
def test_resume(copied, capsys):
    result = samtune.resume(copied, trainer={"max_steps": 2})
    require_result(result, capsys, "metrics")
    steps = [row["step"] for row in result.metrics if "train/loss" in row]
    assert len(steps) == 2
    assert steps == sorted(steps)
    assert result.headline == f"{copied}: best validation mIoU {best_of(result):.3f}"


def test_evaluate(tuned, tmp_path, capsys):
    result = samtune.evaluate(
        tuned[0], protocols=["box"], general="none", gallery=1, out=str(tmp_path / "evaluation")
    )  # a run stands for its model
    require_result(result, capsys, "protocols", "focus", "sharpening")
    files = {file.name for file in result.folder.iterdir()}
    assert {"report.html", "report.md", "results.json", "objects.csv"} <= files
    written = read(result.folder / "results.json")
    assert result.headline == written["headline"]
    (row,) = result.tables["protocols"]
    block = written["protocols"]["box"]
    assert row["tuned mIoU"] == pytest.approx(block["tuned"]["miou"])
    assert row["difference"] == pytest.approx(row["tuned mIoU"] - row["base mIoU"])
    assert len(result.objects) == row["objects"] == 6


def test_compare(run, tmp_path, capsys):
    out = str(tmp_path / "comparison")
    result = samtune.compare([run, "nano"], protocols=["box"], out=out)
    require_result(result, capsys, "ranking")
    written = read(result.folder / "comparison.json")
    assert result.headline == written["headline"]
    best = result.tables["ranking"][0]
    assert best["verdict"] == "best"
    assert best["model"] == written["ranking"]["all"][0]["model"]
    assert result.headline.startswith(best["model"])
    assert result.page.is_file()


def test_calibrate(copied, capsys):
    result = samtune.calibrate(copied, repeats=2)
    require_result(result, capsys, "thresholds")
    assert result.file.parent == Path(copied) / "adapter"
    assert read(result.file)["num_masks"] == result.calibration.num_masks
    assert f"{result.calibration.num_masks} masks" in result.headline


def test_thresholds(copied, capsys):
    result = samtune.thresholds(copied, search={"points_per_side": 4})
    require_result(result, capsys, "thresholds")
    assert result.file.parent == Path(copied) / "adapter"
    assert f"pred_iou_thresh {result.chosen.pred_iou_thresh:g}" in result.headline
    assert [row["split"] for row in result.tables["thresholds"]] == ["val", "val", "test", "test"]


@pytest.mark.slow
def test_scale(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("samtune.evaluation.forgetting.NUM_GENERAL", 1)
    settings = {"scales": [0.5], "protocols": ["box"], "max_images": 1}
    result = samtune.scale(run, **settings, out=str(tmp_path / "scale"))
    require_result(result, capsys, "scales")
    written = read(result.folder / "scale.json")
    assert written["knee"] == result.knee
    assert f"scale {result.knee:g}" in result.headline
    assert [float(row["scale"]) for row in result.tables["scales"]] == [0, 0.5, 1]
    assert result.page.is_file()


def test_scale_writes_a_model(run, tmp_path, capsys):
    result = samtune.scale(run, write=0.5, out=str(tmp_path / "half"))
    assert capsys.readouterr().out == ""
    assert "0.5" in result.headline
    assert str(result.model) in result.headline
    assert (result.model / "adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_learning_curve(data, tmp_path, capsys):
    out = str(tmp_path / "curve")
    result = samtune.learning_curve(
        {"path": data, **SMALL}, base="nano", image_size=64, sizes=[1, "all"], seeds=1,
        protocols=["box"], out=out, model={"num_corrections": 0},
        trainer={"max_epochs": 1, "accelerator": "cpu"},
    )  # fmt: skip
    require_result(result, capsys, "curve")
    written = read(result.folder / "curve.json")
    assert result.headline == written["headline"]
    assert [row["images"] for row in result.tables["curve"]] == [1, 2]
    assert [point["num_images"] for point in written["curves"]["box"]] == [1, 2]
    assert result.page.is_file()


def test_predict(run, images, tmp_path, capsys):
    out = str(tmp_path / "predictions")
    result = samtune.predict(run, [images], points=[[30, 40]], boxes=[[5, 5, 40, 40]], out=out)
    require_result(result, capsys, "objects")
    assert " in 2 images" in result.headline
    assert result.headline.endswith(f": {out}")
    assert len(result.tables["objects"]) == 4
    written = read(Path(out) / "predictions.json")
    assert {image["file_name"] for image in written["images"]} == {"0.png", "1.png"}
    for row in result.tables["objects"]:
        mask = np.asarray(Image.open(Path(out) / f"{Path(row['image']).stem}_{row['object']}.png"))
        assert (mask > 0).sum() == row["area"]


def test_segment(run, images, tmp_path, capsys):
    out = str(tmp_path / "segmentation")
    search = {"points_per_side": 4, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    result = samtune.segment(run, [images], out=out, search=search)
    require_result(result, capsys, "images")
    assert str(result.out) == out
    written = read(Path(out) / "predictions.json")
    assert result.num_objects == len(written["annotations"]) > 0
    assert result.headline.startswith(f"{result.num_objects} masks in 2 images")
    assert sum(row["objects"] for row in result.tables["images"]) == result.num_objects
    assert (Path(out) / "0.png").is_file()


def test_segment_a_scene(run, tmp_path, capsys):
    write_scene(tmp_path)
    scene, out = str(tmp_path / "scene.tif"), str(tmp_path / "roofs.geojson")
    search = {"points_per_side": 2, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    result = samtune.segment(run, [scene], out=out, search=search)
    require_result(result, capsys, "images")
    assert result.num_objects == len(read(out)["features"])
    assert result.headline.startswith(f"{result.num_objects} objects: {out}")


def test_segment_volume(run, tmp_path, capsys):
    nibabel = pytest.importorskip("nibabel")
    voxels = np.random.default_rng(0).normal(60, 5, (48, 48, 4))
    voxels[15:35, 15:35] += 100
    volume, out = str(tmp_path / "volume.nii.gz"), str(tmp_path / "labels.nii.gz")
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.int16), np.diag([-1, 1, 2, 1.0])), volume)
    result = samtune.segment_volume(run, volume, slice=2, box=[12, 12, 34, 34], out=out)
    require_result(result, capsys, "objects")
    assert result.headline.startswith("1 object in 4 slices")
    (row,) = result.tables["objects"]
    assert row["num_voxels"] == (nibabel.load(out).get_fdata() == 1).sum() > 0
    assert read(result.report)["objects"] == result.objects


def test_prelabel(run, images, place, tmp_path, capsys):
    out = str(tmp_path / "prelabels" / "coco.json")
    result = samtune.prelabel(run, [images], boxes=str(place / "boxes.csv"), out=out)
    require_result(result, capsys, "review")
    assert result.headline.startswith(f"{out}: 2 objects in 2 images")
    assert len(read(out)["annotations"]) == len(result.tables["review"]) == 2
    with result.out.with_name("review.csv").open(newline="") as file:
        queue = [row["image"] for row in csv.DictReader(file)]
    assert queue == [row["image"] for row in result.tables["review"]]
    assert all(result.out.with_name(name).is_file() for name in ("review.html", "rejected.json"))


def test_cache(data, tmp_path, capsys):
    settings = {
        "data": {"path": data, **SMALL, "cache": {"mode": "fp16", "folder": str(tmp_path)}},
        "model": {"lora": {"encoder": "last", "last_blocks": 2}},
    }
    result = samtune.cache(**settings, base="nano", image_size=64)
    require_result(result, capsys)
    assert (result.made, result.were_there) == (4, 0)
    assert len(list(result.folder.rglob("*.safetensors"))) == 4
    assert "4 made, 0 were there" in result.headline
    again = samtune.cache(**settings, base="nano", image_size=64)
    assert (again.made, again.were_there) == (0, 4)


@pytest.mark.slow
def test_bench(images, tmp_path, capsys):
    out = str(tmp_path / "figures.json")
    result = samtune.bench(
        ["nano"], images=images, max_images=1, num_prompts=1, image_size=64, out=out
    )
    require_result(result, capsys, "models")
    assert read(out) == result.figures
    assert result.headline.startswith("nano is the fastest")
    assert result.figures["nano"]["image_size"] == 64


def test_export(run, tmp_path, capsys):
    out = str(tmp_path / "adapter")
    result = samtune.export(run, to="adapter", out=out)
    require_result(result, capsys)
    assert out in result.headline
    assert result.checks
    files = ("adapter_model.safetensors", "adapter_config.json", "README.md")
    assert all((result.folder / name).is_file() for name in files)


SUFFIXES = {"prelabel": ".json", "segment_volume": ".nii.gz"}


def test_outputs_that_are_there_are_not_replaced(run, data, images, place, tmp_path):
    calls = {
        "init": ([data], {}),
        "convert": ([data], {"to": "labels"}),
        "predict": ([run, [images]], {"points": [[30, 40]]}),
        "segment": ([run, [images]], {}),
        "segment_volume": ([run, str(place / "boxes.csv")], {}),
        "export": ([run], {"to": "adapter"}),
        "fetch": (["dsb2018"], {}),
        "prelabel": ([run, [images]], {"boxes": str(place / "boxes.csv")}),
    }
    for name, (arguments, settings) in calls.items():
        out = tmp_path / f"{name}{SUFFIXES.get(name, '')}"
        out.write_text("mine")
        with pytest.raises(UserError, match="is there already"):
            getattr(samtune, name)(*arguments, **settings, out=str(out))
        assert out.read_text() == "mine"
    with pytest.raises(UserError, match="samtune resume"):
        samtune.fit(data, base="nano", run=run)


def test_with_overwrite_they_are(data, tmp_path):
    out = str(tmp_path / "mine.yaml")
    Path(out).write_text("mine")
    samtune.init(data, out=out, base="nano", overwrite=True)
    assert Path(out).read_text() != "mine"


def write_scene(folder):
    """scene.tif of 64 x 64, and boxes.geojson with a box of the class `roof`."""
    rasterio = pytest.importorskip("rasterio")
    values = np.random.default_rng(0).integers(60, 200, (3, 64, 64), np.uint8)
    with rasterio.open(
        folder / "scene.tif", "w", driver="GTiff", count=3, height=64, width=64, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.Affine(1, 0, 5e5, 0, -1, 5e6),
    ) as file:  # fmt: skip
        file.write(values)
    left, top, right, bottom = 500010, 4999990, 500040, 4999960
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    feature = {
        "type": "Feature", "properties": {"kind": "roof"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }  # fmt: skip
    crs = {"type": "name", "properties": {"name": "EPSG:32633"}}
    collection = {"type": "FeatureCollection", "crs": crs, "features": [feature]}
    (folder / "boxes.geojson").write_text(json.dumps(collection))


# `init` writes a budget, which leaves no room for the trainer's own length
_LENGTH = {
    "fit": ["--choose", "false", "--budget", "2 steps"],
    "learning-curve": ["--trainer.max_epochs", "1"],
}
HOWTO = [text for name, text in DOCS.items() if name.startswith("docs/howto") or "models" in name]


@pytest.mark.slow
def test_all_bash_commands_run_as_they_stand(tmp_path, fast, monkeypatch):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    write_discs(tmp_path, "my_data", 8)
    (tmp_path / "my_data" / "boxes.csv").write_text("file,x0,y0,x1,y1\n0.png,10,10,40,40\n")
    write_scene(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("samtune.evaluation.forgetting.NUM_GENERAL", 3)
    found = [block for page in (README, *HOWTO) for block in blocks(page, "bash")]
    lines = dict.fromkeys(line for block in found for line in commands(f"```\n{block}```"))
    assert len(lines) >= 15
    small = [word for word in fast if word not in ("--choose", "false")]  # that fit alone takes
    for line in lines:
        words = shlex.split(line)[1:]
        quick = [*small, *_LENGTH[words[0]], "--image_size", "64"] if "--config" in words else []
        assert main([*words, *quick]) == 0, line


def test_the_python_blocks_of_the_readme_run(run, place, monkeypatch, capsys):
    monkeypatch.setattr(samtune, "fit", lambda config, run: place / "runs" / "mine")
    monkeypatch.setattr("samtune.evaluation.forgetting.NUM_GENERAL", 1)
    monkeypatch.chdir(place)
    first, second = blocks(README, "python")[:2]
    names = {}
    exec(first.replace("(run)", f"(run, gallery=0, out={str(place / 'e')!r})"), names)  # noqa: S102
    assert capsys.readouterr().out == f"{names['result'].headline}\n"
    assert "general" in names["result"].tables
    predict_with(second, place)


def predict_with(block, place):
    """Run a block that shows the predictor."""
    names: dict[str, object] = {}
    there = place / "my_data" / "test" / "images" / "0.png"
    assert "my_data/images/a.png" in block
    exec(block.replace("my_data/images/a.png", str(there)), names)  # noqa: S102
    assert names["masks"].shape == (3, 64, 64)
    assert names["scores"].shape == (3,)


def test_the_python_blocks_of_the_pages_run(run, place, monkeypatch, capsys):
    first, second = blocks(DOCS["docs/howto/python.md"], "python")[:2]
    monkeypatch.setattr(samtune, "fit", lambda data, base: run)
    monkeypatch.setattr("samtune.evaluation.forgetting.NUM_GENERAL", 1)
    monkeypatch.chdir(place)
    names = {}
    exec(first.replace("(run)", f"(run, gallery=0, out={str(place / 'f')!r})"), names)  # noqa: S102
    assert capsys.readouterr().out == f"{names['result'].headline}\n"
    predict_with(second, place)
