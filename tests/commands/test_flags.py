"""Flags are the arguments of a task, under the same names; what is wrong is told in a line."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Literal

import pytest

from samtune.cli import COMMANDS
from samtune.commands.flags import flags_of, parse
from samtune.commands.help import FIRST, help_text
from samtune.errors import UserError


@dataclass(frozen=True)
class InnerSettings:
    """Inner.

    Attributes:
        depth: how deep.
        mode: which way.
    """

    depth: int = 1
    mode: Literal["up", "down"] = "up"


@dataclass(frozen=True)
class OuterSettings:
    """Outer.

    Attributes:
        path: where.
        size: how large.
        is_kept: whether it stays.
        bands: of pixels.
        names: of values.
        inner: more.
    """

    path: str = ""
    size: float | None = 1.0
    is_kept: bool = True
    bands: list[int | str] | None = None
    names: dict[int, str] | None = None
    inner: InnerSettings = field(default_factory=InnerSettings)


def work(
    model: str | Path,
    images: Sequence[str | Path] = (),
    *,
    out: str | Path,
    outer: dict | OuterSettings | None = None,
    count: int = 3,
    sizes: Sequence[int | Literal["all"]] = (1, "all"),
    box: Sequence[float] | None = None,
    points: Sequence[Sequence[float]] = (),
    is_quick: bool = False,
    with_check: bool | None = None,
    share: float | None = None,
) -> None:
    """Do it.

    Args:
        model: what does it.
        images: to do it on.
        out: where it goes.
        outer: some settings.
        count: how often.
        sizes: of it.
        box: around it.
        points: on it.
        is_quick: in a hurry.
        with_check: with a look before.
        share: of it.
    """


def given(*words, extra=None):
    """What a call hands on, apart from what it must have."""
    found = parse(work, "work", ["m", "--out", "o", *words], extra or {})
    assert (found.pop("model"), found.pop("out")) == ("m", "o")
    return found


def refused(*words, task=work, extra=None):
    """The one line that a call is answered with."""
    with pytest.raises(UserError) as raised:
        parse(task, "work", words, extra or {})
    message = str(raised.value)
    assert "\n" not in message
    return message


def task_of(command):
    module, _, function = COMMANDS[command].task.partition(":")
    return getattr(import_module(f"samtune.tasks.{module}"), function or module)


class TestNames:
    def test_dashes_are_read_as_underscores(self):
        assert given("--is-quick", "--with-check=false") == {"is_quick": True, "with_check": False}
        assert given("--outer.is-kept", "false") == {"outer": {"is_kept": False}}

    def test_dashes_of_values_stay(self):
        assert given("--outer.path", "a-b") == {"outer": {"path": "a-b"}}
        assert given("--outer.path=a--b") == {"outer": {"path": "a--b"}}

    def test_groups_are_nested_and_meet(self):
        words = ["--outer.inner.depth", "4", "--outer.path", "p", "--outer.inner.mode", "down"]
        assert given(*words) == {"outer": {"path": "p", "inner": {"depth": 4, "mode": "down"}}}

    def test_arguments_before_the_star_go_without_a_flag(self):
        found = parse(work, "work", ["m", "a.png", "b.png", "--out", "o"], {})
        assert found == {"model": "m", "images": ["a.png", "b.png"], "out": "o"}

    @pytest.mark.parametrize(
        "words",
        [["m", "a", "--out", "o"], ["--out", "o", "m", "a"], ["m", "--out", "o", "a"],
         ["--is_quick", "m", "a", "--out", "o"], ["m", "--is_quick", "a", "--out", "o"],
         ["-o", "o", "m", "a"]],
    )  # fmt: skip
    def test_flags_may_stand_anywhere(self, words):
        found = parse(work, "work", words, {})
        assert (found["model"], found["images"], found["out"]) == ("m", ["a"], "o")

    def test_flags_of_the_command_line_alone(self):
        assert given("--json", extra={"json": "print JSON"}) == {"json": True}
        assert given(extra={"json": "print JSON"}) == {}

    def test_a_path_and_other_settings_of_the_data_are_one_group(self):
        words = ["d", "--data.tile", "64"]
        assert parse(task_of("fit"), "fit", words, {}) == {"data": {"path": "d", "tile": 64}}


class TestWhatIsHandedOn:
    def test_nothing_that_is_not_given(self):
        assert given() == {}
        assert parse(task_of("fit"), "fit", [], {}) == {}
        assert parse(task_of("evaluate"), "evaluate", ["m"], {}) == {"model": "m"}

    def test_defaults_that_are_given(self):
        assert given("--count", "3", "--outer.size", "1") == {"count": 3, "outer": {"size": 1.0}}

    @pytest.mark.parametrize(
        ("words", "value"),
        [([], True), (["true"], True), (["false"], False), (["True"], True), (["False"], False)],
    )
    def test_booleans_with_a_value_and_without(self, words, value):
        assert given("--is_quick", *words) == {"is_quick": value}
        assert given("--outer.is_kept", *words) == {"outer": {"is_kept": value}}
        assert given("--with_check", *words, "--count", "1") == {"with_check": value, "count": 1}

    @pytest.mark.parametrize(
        ("words", "values"),
        [(["1", "5", "all"], [1, 5, "all"]), (["[1, 5, all]"], [1, 5, "all"]),
         (["1,5,all"], [1, 5, "all"]), (["2"], [2]), (["[2]"], [2]), (["all"], ["all"])],
    )  # fmt: skip
    def test_lists_in_all_spellings(self, words, values):
        assert given("--sizes", *words) == {"sizes": values}

    @pytest.mark.parametrize("words", [["2", "red"], ["[2, red]"], ["2,red"]])
    def test_lists_of_numbers_and_names(self, words):
        assert given("--outer.bands", *words) == {"outer": {"bands": [2, "red"]}}

    def test_a_list_without_a_value_is_empty(self):
        assert given("--sizes") == {"sizes": []}
        assert given("--sizes", "--count", "1") == {"sizes": [], "count": 1}

    def test_names_with_commas_stay_whole(self):
        words = ["m", "--to", "hf", "--out", "o", "--datasets", "a,b"]
        assert parse(task_of("export"), "export", words, {})["datasets"] == ["a,b"]

    @pytest.mark.parametrize(
        "words", [["1,2,3,4"], ["1", "2", "3", "4"], ["[1, 2, 3, 4]"], ["1.0,2,3,4"]]
    )
    def test_a_box(self, words):
        assert given("--box", *words) == {"box": [1, 2, 3, 4]}

    @pytest.mark.parametrize(
        "words",
        [["1,2", "3.5,4,0"], ["[[1, 2], [3.5, 4, 0]]"], ["1,2", "--points", "3.5,4,0"]],
    )  # fmt: skip
    def test_points(self, words):
        assert given("--points", *words) == {"points": [[1, 2], [3.5, 4, 0]]}

    def test_a_list_that_is_given_twice_loses_nothing(self):
        """The first must not be forgotten without a word."""
        assert given("--sizes", "1", "--sizes", "2", "3") == {"sizes": [1, 2, 3]}

    def test_negative_numbers_are_values(self):
        assert given("--box", "-1", "-2.5", "3", "4") == {"box": [-1, -2.5, 3, 4]}
        assert given("--count", "-1") == {"count": -1}
        assert given("--box=-1,-2,3,4") == {"box": [-1, -2, 3, 4]}

    def test_null_is_none_where_there_may_be_none(self):
        assert given("--share", "null") == {"share": None}
        assert given("--box", "null") == {"box": None}
        assert given("--outer.size", "null", "--outer.bands", "null") == {
            "outer": {"size": None, "bands": None}
        }
        assert "--count is 'null'" in refused("m", "--out", "o", "--count", "null")

    def test_a_mapping(self):
        assert given("--outer.names", "{1: road, 2: roof}") == {
            "outer": {"names": {1: "road", 2: "roof"}}
        }

    def test_numbers_in_all_spellings(self):
        assert given("--share", "1e-3", "--count", "7") == {"share": 0.001, "count": 7}

    def test_texts_that_look_like_numbers_stay_texts(self):
        found = parse(task_of("fit"), "fit", ["d", "--run", "1", "--data.window", "40,400"], {})
        assert found == {"data": {"path": "d", "window": "40,400"}, "run": "1"}


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("word", "hint"),
        [("--cuont", "did you mean count"), ("--outer.sizes", "did you mean outer.size"),
         ("--outer.inner.dept", "outer.inner.depth"), ("--is-quik", "is_quick")],
    )  # fmt: skip
    def test_an_unknown_flag_with_the_closest_one(self, word, hint):
        message = refused("m", "--out", "o", word, "1")
        assert f"unknown option {word.replace('-q', '_q')}" in message
        assert hint in message

    def test_an_unknown_flag_that_is_like_none(self):
        message = refused("m", "--out", "o", "--zzzzzzz=1")
        assert "unknown option --zzzzzzz" in message
        assert "did you mean" not in message
        assert "--help" in message

    def test_parts_of_a_name_are_not_enough(self):
        assert "unknown option --cou" in refused("m", "--out", "o", "--cou", "1")

    def test_what_is_left_over(self):
        message = refused("d", "more", task=task_of("check"))
        assert "unexpected 'more'" in message

    @pytest.mark.parametrize(
        ("words", "name"),
        [(["m"], "--out"), (["--out", "o"], "MODEL"), ([], "MODEL")],
    )
    def test_what_is_missing(self, words, name):
        assert f"{name} is missing (see samtune work --help)" in refused(*words)

    def test_a_required_list_is_missing(self):
        assert "IMAGES" in refused("m", task=task_of("segment"))

    def test_a_flag_without_its_value(self):
        message = refused("m", "--out", "o", "--count")
        assert message.endswith("(see samtune work --help)")
        assert "--count" in message

    @pytest.mark.parametrize(
        ("words", "parts"),
        [
            (["--count", "many"], ["--count is 'many'", "int"]),
            (["--count", "1.5"], ["--count is '1.5'"]),
            (["--share", "big"], ["--share is 'big'", "float"]),
            (["--is_quick=maybe"], ["--is_quick", "maybe"]),
            (["--sizes", "1", "x"], ["--sizes is 'x'", "all"]),
            (["--box", "1,2,x,4"], ["--box is 'x'"]),
            (["--points", "1,y"], ["--points is 'y'"]),
            (["--outer.size", "big"], ["--outer.size is 'big'"]),
            (["--outer.inner.depth", "x"], ["--outer.inner.depth is 'x'"]),
            (["--outer.inner.mode", "left"], ["--outer.inner.mode is 'left'", "up", "down"]),
            (["--sizes", "[1"], ["--sizes", "[1"]),
            (["--outer.names", "{1: "], ["--outer.names", "{1:"]),
        ],
    )
    def test_values_of_the_wrong_kind(self, words, parts):
        message = refused("m", "--out", "o", *words)
        for part in parts:
            assert part in message


@pytest.mark.parametrize("command", COMMANDS)
class TestHelp:
    def test_each_flag_has_an_explanation(self, command):
        flags = flags_of(task_of(command))
        assert [flag.name for flag in flags if not flag.text.strip()] == []
        assert all(COMMANDS[command].extra.values())
        assert len({flag.name for flag in flags}) == len(flags)

    def test_it_says_what_the_command_does(self, command):
        text = help_text(task_of(command), command, COMMANDS[command].extra, False)
        assert text.startswith(f"usage: samtune {command}")
        assert text.splitlines()[2].strip()

    def test_all_of_it_lists_every_flag(self, command):
        extra = COMMANDS[command].extra
        lines = help_text(task_of(command), command, extra, True).splitlines()
        told = [line.split()[:2] for line in lines if line.startswith("  ")]
        names = {word.rstrip(",") for words in told for word in words}
        for flag in flags_of(task_of(command)):
            assert (flag.name.upper() if flag.is_positional else f"--{flag.name}") in names
        assert names >= {f"--{name}" for name in extra}
        assert max(map(len, lines)) <= 100

    def test_what_is_required_stands_in_the_short_one(self, command):
        text = help_text(task_of(command), command, COMMANDS[command].extra, False)
        for flag in flags_of(task_of(command)):
            if flag.is_required:
                assert (flag.name.upper() if flag.is_positional else f"--{flag.name}") in text


def test_the_settings_shown_first_are_there():
    assert {flag.name for flag in flags_of(task_of("fit"))} >= FIRST


def test_help_of_fit_is_short_and_points_to_the_rest():
    lines = help_text(task_of("fit"), "fit", {}, False).splitlines()
    assert len(lines) <= 120
    assert "samtune fit --help-all" in lines[-1]
    assert len(help_text(task_of("fit"), "fit", {}, True).splitlines()) > len(lines)


def test_choices_and_defaults_are_told():
    text = " ".join(help_text(work, "work", {}, True).split())
    assert "--outer.inner.mode which way (up, down) (default: up)" in text
    assert "--count how often (default: 3)" in text
    assert "--sizes of it (default: 1 all)" in text
    assert "usage: samtune work MODEL [IMAGES ...] [options]" in text
