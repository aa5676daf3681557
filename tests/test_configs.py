"""Every shipped config goes through the real parser, and its first line launches it."""

import shlex
from pathlib import Path

import pytest

from tests.commands.planning import planned

CONFIGS = sorted((Path(__file__).parent.parent / "configs").rglob("*.yaml"))


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
    root = config.parents[len(config.relative_to(CONFIGS[0].parent.parent).parts) - 1]
    assert words[:3] == ["samtune", "fit", "--config"]
    assert root / words[3] == config
