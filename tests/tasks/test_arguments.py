"""What tasks make of their arguments before they begin."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest

from samtune.data.settings import DataSettings
from samtune.errors import UserError
from samtune.tasks.arguments import task
from samtune.tasks.fit import gather
from samtune.tasks.runs import find_run
from samtune.tasks.settings import data_of, differing, require_reading
from samtune.training.settings import TrainerSettings


@task
def work(
    images: Sequence[str | Path],
    *,
    to: Literal["hf", "onnx"] = "hf",
    save: Sequence[Literal["masks", "coco"]] = ("masks",),
    sizes: Sequence[int | Literal["all"]] = ("all",),
) -> tuple[object, ...]:
    """Hand on what comes."""
    return images, to, save, sizes


def test_one_text_or_path_stands_for_a_list_of_one():
    assert work("a.png", save="coco")[::2] == (["a.png"], ["coco"])
    assert work(Path("a.png"))[0] == [Path("a.png")]
    assert work(["a.png", "b.png"])[0] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"to": "foo"}, r"to is 'foo': choose from hf, onnx"),
        ({"save": ["masks", "foo"]}, r"save is 'foo': choose from masks, coco"),
        ({"save": "foo"}, r"save is 'foo': choose from masks, coco"),
    ],
)
def test_what_cannot_be_chosen_is_refused(given, told):
    with pytest.raises(UserError, match=told):
        work([], **given)


def test_numbers_may_stand_beside_words():
    assert work([], sizes=[1, "all"])[3] == [1, "all"]


def test_what_differs_from_the_defaults_is_meant():
    assert differing(DataSettings(path="d", tile=128)) == {"path": "d", "tile": 128}
    assert data_of("x", DataSettings(tile=128)) == {"path": "x", "tile": 128}
    assert data_of("x", {"tile": 64}) == {"path": "x", "tile": 64}
    assert differing(TrainerSettings(max_epochs=2)) == {"max_epochs": 2}


def test_files_that_are_given_go_before_drawn_pictures_of_a_config(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("base: nano\ndata: {format: drawn, tile: 0}\n")
    assert gather(config, {"data": "folder"}).data.format == "auto"
    assert gather(config, {}).data.format == "drawn"


def test_a_seed_of_the_data_stays_with_them(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("base: nano\nseed: 3\n")
    assert gather(config, {"data": "d", "seed": 5}).data.seed == 5
    assert gather(config, {"data": DataSettings(path="d", seed=9), "seed": 5}).data.seed == 9
    assert gather(config, {"data": {"path": "d", "seed": 7}, "seed": 5}).data.seed == 7


def test_a_config_in_the_place_of_data_is_refused(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("base: nano\ndata: d\n")
    with pytest.raises(UserError, match=r"is a config, and no data set: give it as --config"):
        gather(None, {"data": str(config)})


def test_runs_of_the_first_version_are_runs(tmp_path):
    """Otherwise nobody would notice that their training images are no test images."""
    (tmp_path / "metrics.csv").touch()
    (tmp_path / "config.yaml").write_text("model: {base: nano}\ndata: {path: d}\n")
    assert find_run(tmp_path) == tmp_path
    (tmp_path / "config.yaml").write_text("model: something else\ndata: {path: d}\n")
    assert find_run(tmp_path) is None


def test_settings_of_a_reading_that_would_do_nothing_are_refused():
    require_reading({"bands": [0]}, ("bands",))
    require_reading(None, ("bands",))
    with pytest.raises(UserError, match=r"reading\.tile means nothing here: it can be bands"):
        require_reading({"tile": 64}, ("bands",))
    with pytest.raises(UserError, match="tile is -5"):
        require_reading({"tile": -5}, ("bands", "tile"))


@pytest.mark.parametrize(
    ("cause", "line"),
    [
        (lambda: Path("x" * 300).exists(), "x: File name too long"),
        (lambda: Path("no/such").read_text(), "no/such: No such file or directory"),
        (lambda: os.write(9999, b""), "Bad file descriptor"),
    ],
)
def test_what_the_system_refuses_is_a_line(cause, line):
    @task
    def work(cause):
        return cause()

    with pytest.raises(UserError, match=line):
        work(cause)


def test_a_closed_pipe_is_no_mistake():
    def write():
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        task(write)()
