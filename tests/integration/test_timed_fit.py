"""A fit with a budget, from windows around objects to the choice at its end."""

import itertools
import json
from types import SimpleNamespace

import pytest
import torch

from samtune.cli import main
from samtune.errors import UserError
from samtune.models.loading import load_model
from samtune.training.budget import CHOICE_SHARE, SHARPENING_SHARE

FLAGS = [
    "--base", "nano", "--image_size", "64", "--data.num_workers", "0", "--check", "false",
    "--trainer.accelerator", "cpu", "--data.max_objects", "3",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(discs, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "timed"
    assert (
        main(["fit", "--data.path", str(discs), "--run", str(run), *FLAGS, "--budget", "3s"]) == 0
    )
    return run


def test_it_validates_and_saves_at_its_end(run):
    lines = (run / "metrics.csv").read_text().splitlines()
    assert "val/box_miou" in lines[0]
    assert (run / "checkpoints" / "last.ckpt").exists()
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] >= 1
    assert checkpoint["callbacks"]["Budget"]["elapsed"] >= 3 * (1 - CHOICE_SHARE - SHARPENING_SHARE)


def test_what_is_kept_was_chosen_by_the_validation_images(run):
    choice = json.loads((run / "choice.json").read_text())
    assert choice["candidates"][0]["weights"] == "last"
    assert set(choice["candidates"][0]["domain"]) == {"box", "point", "clicks_3"}
    # drawn pictures are asked only where that may still change what is kept
    assert all(set(each["general"]) in (set(), {"box", "point"}) for each in choice["candidates"])
    chosen = [each for each in choice["candidates"] if each["is_chosen"]]
    assert len(chosen) == (0 if choice["sentence"].startswith("the base is kept") else 1)
    assert all(each["is_allowed"] and each["gain"] > 0 and each["general"] for each in chosen)


def test_the_model_knows_whether_it_was_found_better_and_says_so(run, discs, capsys, tmp_path):
    sam = load_model(run)
    assert sam.is_better in (True, False)
    metadata = run / "adapter" / "samtune.json"
    content = json.loads(metadata.read_text())
    try:
        metadata.write_text(json.dumps(content | {"is_better": False}))
        image = next((discs / "test" / "images").iterdir())
        place = ["--boxes", "5,5,20,20", "--out", str(tmp_path / "out")]
        assert main(["predict", str(run), str(image), *place]) == 0
        told = capsys.readouterr()
        assert "was not shown to be better than its base" in told.out + told.err
    finally:
        metadata.write_text(json.dumps(content))


def test_a_budget_of_steps_takes_just_these_and_chooses_too(discs, tmp_path, caplog, capsys):
    run = tmp_path / "steps"
    flags = [*FLAGS, "--budget", "3 steps"]
    assert main(["fit", "--data.path", str(discs), "--run", str(run), *flags]) == 0
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    choice = json.loads((run / "choice.json").read_text())
    # three steps end with the one validation: the best weights are the last, and not asked again
    assert {each["weights"] for each in choice["candidates"]} == {"last", "averaged"}
    assert choice["left_out"] == []
    told = caplog.text + capsys.readouterr().out
    assert "epoch 1  loss" in told
    assert "/-1" not in told


def test_a_budget_that_is_no_time_is_refused_before_anything_is_loaded(discs, tmp_path, capsys):
    arguments = ["fit", "--data.path", str(discs), "--run", str(tmp_path / "x"), "--budget", "5"]
    assert main(arguments) == 2
    assert "give a time, such as 90s, 5m or 1.5h" in capsys.readouterr().err


@pytest.mark.slow
def test_an_adapter_that_has_no_strengths_is_compared_with_the_base_too(discs, tmp_path):
    run = tmp_path / "dora"
    flags = [*FLAGS, "--budget", "3 steps", "--model.lora.with_dora", "true"]
    assert main(["fit", "--data.path", str(discs), "--run", str(run), *flags]) == 0
    candidates = json.loads((run / "choice.json").read_text())["candidates"]
    assert {each["strength"] for each in candidates} == {1.0}
    assert load_model(run).is_adapted


def test_where_the_base_is_kept_an_adapter_without_strengths_changes_nothing(
    discs, tmp_path, monkeypatch, capsys
):
    run = tmp_path / "dora"
    monkeypatch.setattr("samtune.evaluation.choice.choose", lambda candidates: None)
    flags = [*FLAGS, "--budget", "3 steps", "--model.lora.with_dora", "true", "--sharpen", "false"]
    assert main(["fit", "--data.path", str(discs), "--run", str(run), *flags]) == 0
    assert "the base is kept" in capsys.readouterr().out
    sam = load_model(run)
    pixels = torch.rand(1, 3, sam.image_size, sam.image_size)
    with torch.no_grad():
        tuned = sam.encode(pixels).main
        with sam.base_weights():
            base = sam.encode(pixels).main
    assert torch.allclose(tuned, base, atol=1e-4)


def test_several_processes_have_no_budget_of_time(discs, tmp_path, capsys):
    more = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--run", str(tmp_path / "x")]
    assert main(["fit", "--data.path", str(discs), *FLAGS, "--budget", "6s", *more]) == 2
    assert "a budget of time is for one process" in capsys.readouterr().err


@pytest.fixture
def slow_machine(monkeypatch):
    """On which a quarter of an hour is over whenever the choice looks at the clock."""
    from samtune.tasks import choosing

    now = itertools.count(0, 900)
    clock = SimpleNamespace(monotonic=lambda: float(next(now)))
    monkeypatch.setattr(choosing, "time", clock)


@pytest.mark.slow
@pytest.mark.parametrize("end", [["--trainer.max_epochs", "1"], ["--budget", "3 steps"]])
def test_without_a_budget_of_time_the_choice_is_the_same_on_any_machine(
    discs, tmp_path, slow_machine, end
):
    run = tmp_path / "run"
    assert main(["fit", "--data.path", str(discs), "--run", str(run), *FLAGS, *end]) == 0
    choice = json.loads((run / "choice.json").read_text())
    assert choice["left_out"] == []
    assert {each["weights"] for each in choice["candidates"]} >= {"last", "best"}


def test_what_a_budget_has_no_time_for_is_said(discs, tmp_path, slow_machine, capsys):
    run = tmp_path / "run"
    flags = [*FLAGS, "--budget", "3s"]
    assert main(["fit", "--data.path", str(discs), "--run", str(run), *flags]) == 0
    choice = json.loads((run / "choice.json").read_text())
    (told,) = (
        each for each in choice["left_out"] if each.startswith("the choice had no time for the ")
    )
    assert told in capsys.readouterr().out


@pytest.mark.slow
def test_best_weights_that_are_gone_are_said_to_be_no_candidate(
    discs, tmp_path, monkeypatch, capsys
):
    from samtune.tasks import choosing

    def stop(*_):
        raise UserError("stopped before the choice")

    run, flags = tmp_path / "run", [*FLAGS, "--budget", "3 steps"]
    with monkeypatch.context() as patch:
        patch.setattr(choosing, "choose_weights", stop)
        assert main(["fit", "--data.path", str(discs), "--run", str(run), *flags]) == 2
    (run / "checkpoints" / "best.ckpt").unlink()
    assert main(["resume", str(run)]) == 0
    choice = json.loads((run / "choice.json").read_text())
    assert "best" not in {each["weights"] for each in choice["candidates"]}
    (told,) = choice["left_out"]
    assert "best.ckpt is not there: the weights of the best validation are no candidate" in told
    assert "are no candidate" in " ".join(capsys.readouterr().err.split())
