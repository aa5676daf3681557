"""A run with kept activations is the run without them, only faster."""

import csv
import re
import shutil

import pytest
from torch._subclasses.fake_tensor import FakeTensor

from samtune.cli import main
from samtune.models.backend import Sam

LAST = ["--model.lora.encoder", "last", "--model.lora.last_blocks", "2"]
FRESH = ["--trainer.max_epochs", "2", "--data.val_objects", "2"]


def train(data, run, *flags):
    """The losses of all steps."""
    assert main(["fit", "--data.path", str(data), "--run", str(run), *FRESH, *flags]) == 0
    with (run / "metrics.csv").open() as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def keeping(folder, mode="fp32"):
    """Flags."""
    return ["--data.cache.mode", mode, "--data.cache.folder", str(folder / "cache")]


def of_data(fast):
    """Flags of a small fit without that of its end, which nothing but a fit has."""
    place = fast.index("--choose")
    return fast[:place] + fast[place + 2 :]


@pytest.fixture
def fit(discs, tmp_path, fast):
    """A function that trains with the last two blocks adapted and gives the losses of all steps."""
    return lambda name, *more: train(discs, tmp_path / name, *fast, *(more or LAST))


@pytest.fixture(scope="module")
def plain(discs, fast, tmp_path_factory):
    """The losses without a cache."""
    return train(discs, tmp_path_factory.mktemp("plain") / "run", *fast, *LAST)


@pytest.fixture
def cached(tmp_path):
    """Flags that keep in single precision."""
    return keeping(tmp_path)


@pytest.fixture
def calls(monkeypatch):
    """From which to which step each pass through the encoder went."""
    return spy_on(monkeypatch)


def spy_on(monkeypatch):
    passes, advance = [], Sam._advance

    def spy(sam, features, first, last):
        if not isinstance(features.main, FakeTensor):  # sizes are found without computing
            passes.append((first, last))
        return advance(sam, features, first, last)

    monkeypatch.setattr(Sam, "_advance", spy)
    return passes


def entries(tmp_path):
    return sorted((tmp_path / "cache").rglob("*.safetensors"))


@pytest.fixture(scope="module")
def built(discs, fast, tmp_path_factory):
    """A folder with the cache that a run has built, the losses and the passes of this run."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        passes = spy_on(patch)
        losses = train(discs, folder / "run", *fast, *LAST, *keeping(folder))
    return folder, losses, passes


@pytest.fixture
def copied(built, tmp_path):
    """A copy of that cache, where `cached` looks for it."""
    shutil.copytree(built[0] / "cache", tmp_path / "cache")


@pytest.mark.slow
def test_while_it_is_built_losses_are_those_without_and_each_image_is_computed_once(built, plain):
    folder, losses, passes = built
    assert losses == pytest.approx(plain, rel=1e-5)
    assert passes.count((0, 4)) == 6  # four training and two validation images
    assert len(entries(folder)) == 6


@pytest.mark.usefixtures("copied")
def test_after_that_the_frozen_part_is_not_computed_and_losses_are_the_same(
    fit, cached, calls, plain
):
    assert fit("reading", *LAST, *cached) == pytest.approx(plain, rel=1e-5)
    assert (0, 4) not in calls
    assert (4, 7) in calls


@pytest.mark.usefixtures("copied")
def test_a_damaged_entry_is_made_again(fit, cached, calls, tmp_path, plain):
    damaged, lost = entries(tmp_path)[:2]
    damaged.write_bytes(damaged.read_bytes()[:-9] + b"012345678")
    lost.unlink()
    assert fit("again", *LAST, *cached) == pytest.approx(plain, rel=1e-5)
    assert calls.count((0, 4)) == 2
    assert len(entries(tmp_path)) == 6


@pytest.mark.slow
def test_a_frozen_encoder_is_not_run_at_all(fit, cached, calls):
    flags = ["--model.mode", "decoder", *cached]
    plain = fit("first", *flags)
    calls.clear()
    assert fit("second", *flags) == pytest.approx(plain, rel=1e-5)
    assert set(calls) == {(7, 7)}


@pytest.mark.usefixtures("copied")
@pytest.mark.slow
def test_another_depth_does_not_take_these_entries(fit, cached, calls, tmp_path):
    fit("one", "--model.lora.encoder", "last", "--model.lora.last_blocks", "1", *cached)
    assert calls.count((0, 5)) == 6
    assert len(entries(tmp_path)) == 12


def test_the_command_fills_it_and_goes_on_where_it_stopped(
    discs, fast, cached, calls, tmp_path, capsys, fit
):
    arguments = ["cache", "--data.path", str(discs), *of_data(fast), *LAST, *cached]
    assert main(arguments) == 0
    assert "cache: 6 made, 0 were there" in capsys.readouterr().out
    entries(tmp_path)[0].unlink()
    assert main(arguments) == 0
    assert "cache: 1 made, 5 were there" in capsys.readouterr().out
    calls.clear()
    fit("run", *LAST, *cached)
    assert (0, 4) not in calls


@pytest.mark.parametrize("launcher", ["RANK WORLD_SIZE", "SLURM_PROCID SLURM_STEP_NUM_TASKS"])
def test_processes_share_the_images(discs, fast, cached, capsys, monkeypatch, launcher):
    rank, world = launcher.split()
    monkeypatch.setenv(world, "2")
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    for number in (0, 1):
        monkeypatch.setenv(rank, str(number))
        assert main(["cache", "--data.path", str(discs), *of_data(fast), *LAST, *cached]) == 0
        assert "cache: 3 made, 0 were there" in capsys.readouterr().out


def test_augmented_views_are_kept_each(discs, fast, cached, tmp_path, capsys):
    flags = ["--data.augment", "light", "--data.cache.views", "3"]
    assert main(["cache", "--data.path", str(discs), *of_data(fast), *LAST, *cached, *flags]) == 0
    made = int(re.search(r"cache: (\d+) made", capsys.readouterr().out)[1])
    assert 8 < made <= 3 * 4 + 2  # a view may happen to be another's twin


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.augment", "light"], "data.cache.views"),
        (["--model.lora.encoder", "all"], "trained from its first block"),
        (["--data.format", "drawn"], "drawn pictures never come again"),
    ],
)
def test_what_cannot_be_kept_is_said_before_training(
    discs, fast, cached, tmp_path, capsys, flags, message
):
    arguments = ["--data.path", str(discs), *of_data(fast), *LAST, *cached, *flags]
    for command, more in (("fit", ["--run", str(tmp_path / "run")]), ("cache", [])):
        assert main([command, *arguments, *more]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_full_disk_limit_only_costs_time(fit, cached, tmp_path, plain):
    found = fit("limited", *LAST, *cached, "--data.cache.limit_gb", "0.0001")
    assert found == pytest.approx(plain, rel=1e-5)
    assert 0 < len(entries(tmp_path)) < 6


@pytest.mark.slow
def test_half_precision_moves_a_loss_by_its_rounding_only(discs, fast, fit, tmp_path, plain):
    flags = keeping(tmp_path, "fp16")
    assert main(["cache", "--data.path", str(discs), *of_data(fast), *LAST, *flags]) == 0
    found = fit("reading", *LAST, *flags)
    gaps = [abs(a - b) / b for a, b in zip(found, plain, strict=True)]
    assert max(gaps[:4]) < 2e-3  # later steps start from other weights
