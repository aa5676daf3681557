"""`samtune export` on a finished run: every target, the card with its results, the Hub."""

import shutil

import huggingface_hub
import pytest
import yaml

from samtune.cli import main
from samtune.exports import official
from samtune.models.calibration import Calibration
from samtune.models.loading import load_model
from samtune.models.mask_thresholds import FittedThresholds, MaskThresholds
from samtune.tasks.runs import find_run
from tests.conftest import SIDE


@pytest.fixture(scope="module")
def evaluated(lora_run, tmp_path_factory):
    """A copy of the run with an evaluation of two protocols."""
    run = tmp_path_factory.mktemp("evaluated") / "discs"
    shutil.copytree(lora_run, run)
    Calibration((0.0, 1.0), (0.1, 0.9), "isotonic", 5).save(run / "adapter")
    scores = {"before": {"scores": {"msa": 0.1}}, "after": {"scores": {"msa": 0.4321}}}
    about = {"data": str(run.parent), "tile": 48, "split": "val"}
    about["results"] = {split: {**scores, "num_images": 7} for split in ("val", "test")}
    FittedThresholds(MaskThresholds(0.51, 0.62, 0.33), 16, about).save(run / "adapter")
    flags = ["--protocols", "box", "point", "--general", "none", "--device", "cpu"]
    assert main(["evaluate", str(run), *flags]) == 0
    return run


def export(run, target, out, *flags):
    return main(["export", str(run), "--to", target, "--out", str(out), *map(str, flags)])


@pytest.mark.parametrize(
    "target",
    [
        "adapter",
        "hf",
        "official",
        pytest.param("onnx", marks=pytest.mark.slow),
        pytest.param("annotation", marks=pytest.mark.slow),
    ],
)
def test_every_target_comes_with_its_card(evaluated, tmp_path, capsys, target):
    assert export(evaluated, target, tmp_path / "out", "--max_images", 1) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert yaml.safe_load(card.split("---")[1])["license"] == "apache-2.0"
    assert card.count("too few images") >= 2, "the table says what it does not know"
    assert "# discs" in card
    assert "`nano`" in card
    assert "Prompts it was trained on: recipe `mixed`" in card
    assert str(evaluated.parent) not in card
    assert "`pred_iou_thresh` 0.51 (segment_anything's: 0.88)" in card
    assert "16 x 16 points in each tile of 48 pixels" in card
    assert "- test: 0.100 with segment_anything's, 0.432 with these, 7 images or tiles" in card
    assert "measured on 5 masks of the val split (isotonic" in card
    told = capsys.readouterr().out
    assert "largest difference" in told
    assert all(line in card for line in told.splitlines() if "largest difference" in line)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"calibration.json", "thresholds.json"} <= names
    for path in (tmp_path / "out").iterdir():
        assert f"`{path.name}" in card or path.name == "README.md"


@pytest.mark.slow
def test_int8_is_measured_on_the_run_s_validation_split(evaluated, tmp_path, capsys):
    assert (
        export(
            evaluated,
            pytest.param("onnx", marks=pytest.mark.slow),
            tmp_path / "out",
            "--int8",
            "--max_images",
            1,
        )
        == 0
    )
    told = capsys.readouterr().out
    assert "on 1 image of the validation split: mIoU" in told
    assert "int8" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
def test_where_the_run_s_data_are_gone_it_says_what_it_measures_on(evaluated, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(evaluated, run)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"]["path"] = str(tmp_path / "gone")
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert export(run, "onnx", tmp_path / "out", "--int8", "--max_images", 1) == 0
    told = capsys.readouterr().out
    assert "NOTE: the loss is measured on drawn pictures" in told
    assert str(tmp_path / "gone") in told, "and why"
    assert str(tmp_path) not in (tmp_path / "out" / "README.md").read_text()
    assert export(run, "onnx", tmp_path / "plain") == 0
    assert "NOTE" not in capsys.readouterr().out


@pytest.mark.parametrize("target", ["adapter", "hf", "official"])
def test_data_are_refused_where_nothing_is_measured(evaluated, tmp_path, capsys, target):
    assert export(evaluated, target, tmp_path / "out", "--data.path", tmp_path) == 2
    assert f"data is for --to onnx and annotation, not for {target}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_adapter_without_its_run_is_tuned_all_the_same(evaluated, tmp_path):
    shutil.copytree(evaluated / "adapter", tmp_path / "adapter")
    assert export(tmp_path / "adapter", "hf", tmp_path / "out") == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "It was tuned; more is not known" in card
    assert "tuned with samtune" in card
    assert "Nothing is known of it" not in card


def test_a_run_too_short_for_metrics_is_a_run(evaluated, tmp_path):
    run = tmp_path / "short"
    shutil.copytree(evaluated, run, ignore=shutil.ignore_patterns("metrics.csv"))
    for model in (run, run / "adapter", run / "checkpoints" / "last.ckpt"):
        assert find_run(model) == run
    assert export(run, "adapter", tmp_path / "out") == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "recipe `mixed`" in card
    assert "more is not known" not in card


def test_a_folder_with_somebody_s_config_is_no_run(evaluated, tmp_path):
    foreign = tmp_path / "foreign"
    shutil.copytree(evaluated / "adapter", foreign / "exports" / "mine")
    shutil.copytree(evaluated / "adapter", foreign / "adapter")
    (foreign / "metrics.csv").write_text("epoch,loss\n")
    (foreign / "config.yaml").write_text("model: resnet\ndata: /somewhere\n")
    for model in (foreign, foreign / "adapter", foreign / "exports" / "mine"):
        assert find_run(model) is None
    shutil.copy(evaluated / "config.yaml", foreign)
    assert find_run(foreign / "exports" / "mine") is None
    assert find_run(foreign / "adapter") == foreign
    (foreign / "metrics.csv").unlink()
    shutil.rmtree(foreign / "adapter")
    assert find_run(foreign) is None


def test_results_of_other_weights_are_not_claimed(evaluated, tmp_path):
    assert export(evaluated, "hf", tmp_path / "out", "--scale", 0.5) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "other weights than these" in card
    assert "| box |" not in card
    assert "at scale 0.5" in card
    assert card.count("before the scale was set") == 2


def test_a_base_is_exported_without_a_run(tmp_path):
    assert export("nano", "hf", tmp_path / "out") == 0
    assert "Nothing is known of it" in (tmp_path / "out" / "README.md").read_text()
    assert load_model(tmp_path / "out").image_size == 256


def test_what_fails_on_the_way_leaves_nothing(evaluated, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        official, "load_model", lambda *_, **__: load_model("nano", image_size=SIDE)
    )
    assert export(evaluated, "official", tmp_path / "out") == 2
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_lists_what_a_push_would_upload(evaluated, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    flags = ["--push", "me/discs", "--dry_run"]
    assert export(evaluated, "hf", tmp_path / "out", *flags) == 0
    told = capsys.readouterr().out
    assert "would be uploaded to https://huggingface.co/me/discs" in told
    assert "model.safetensors" in told
    assert export(evaluated, "hf", tmp_path / "again", "--push", "me/discs") == 2
    assert "needs a token" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


def test_a_push_uploads_the_folder(evaluated, tmp_path, capsys, monkeypatch):
    uploads = []

    class Hub:
        def create_repo(self, repo_id, **_):
            return f"https://huggingface.co/{repo_id}"

        def upload_folder(self, **settings):
            uploads.append(settings)

    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert export(evaluated, "hf", tmp_path / "out", "--push", "me/discs", "--private") == 0
    assert [each["folder_path"] for each in uploads] == [tmp_path / "out"]
    assert "uploaded to https://huggingface.co/me/discs" in capsys.readouterr().out
