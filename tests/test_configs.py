"""Every shipped config goes through the real parser, and its first line launches it."""

import json
import shlex
from pathlib import Path

import pytest

from tests.commands.planning import planned

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def names():
    return {path.stem for path in CONFIGS}


def test_the_promised_configs_are_there():
    assert names() >= {"nuclei", "polyps", "roads", "buildings", "quickstart"}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_config_is_understood(config, tmp_path):
    training = planned("--config", config, "--data.path", "x", "--run", tmp_path / "run")
    assert str(training.data.path) == "x"
    assert training.model.sam is None


@pytest.mark.parametrize("config", CONFIGS, ids=lambda p: p.stem)
def test_first_line_is_the_launch_command(config):
    first = config.read_text().splitlines()[0].removeprefix("# ")
    words = shlex.split(first.split("   ")[0])
    assert words[:3] == ["samtune", "fit", "--config"]
    assert ROOT / words[3] == config


def test_every_recipe_is_a_config_with_a_line_of_what_it_takes(load_script):
    script = load_script("recipes")
    listed = {row["recipe"] for row in script.read(script.RECIPES)}
    places = {config.relative_to(ROOT / "configs").with_suffix("").as_posix() for config in CONFIGS}
    assert listed <= places
    assert {row["recipe"] for row in script.read(script.RESULTS)} <= listed


def test_pages_show_the_results_that_are_kept(load_script):
    pages = load_script("recipes").pages()
    assert len(pages) >= 6
    for file, text in pages.items():
        assert file.read_text() == text, f"{file} is out of date: run python scripts/recipes.py"


def test_results_of_a_run_take_the_place_of_those_before(load_script, tmp_path, monkeypatch):
    script = load_script("recipes")
    results = tmp_path / "results.csv"
    results.write_text(script.RESULTS.read_text())
    monkeypatch.setattr(script, "RESULTS", results)
    before = [row for row in script.read(results) if row["recipe"] != "aerial/buildings_nano"]
    delta = {
        "miou": 0.1, "ci95": [0.05, 0.15], "p_holm": 0.01, "verdict": "better", "num_gained": 8,
        "num_tied": 1, "num_lost": 1,
    }  # fmt: skip
    summary = {
        "base": {"miou": 0.5}, "tuned": {"miou": 0.6}, "delta": delta, "num_objects": 10,
        "num_images": 9, "trivial": None,
    }  # fmt: skip
    (tmp_path / "run" / "evaluation").mkdir(parents=True)
    content = {"samtune": "9.9", "protocols": {"box": summary}}
    (tmp_path / "run" / "evaluation" / "results.json").write_text(json.dumps(content))
    script.record("aerial/buildings_nano", tmp_path / "run")
    after = script.read(results)
    (new,) = [row for row in after if row["recipe"] == "aerial/buildings_nano"]
    assert (new["protocol"], new["tuned mIoU"], new["difference"]) == ("box", "0.600", "+0.100")
    assert (new["verdict"], new["objects"], new["as of"]) == ("better", "10", "samtune 9.9")
    assert [row for row in after if row is not new] == before
    assert "| aerial/buildings_nano | " in script._all()
