"""Settings and arguments out of their range are refused before any work, from wherever they come."""

import math
from dataclasses import replace

import pytest

import samtune
from samtune.cli import main
from samtune.data.settings import DataSettings
from samtune.errors import UserError
from samtune.inference.settings import SearchSettings
from samtune.tasks.runs import recipe_of
from samtune.tasks.settings import build, read_settings
from samtune.training.settings import FitSettings

OUT_OF_RANGE = [
    ("data.batch_size", 0, "a whole number of at least 1"),
    ("data.target_side", 0, "a whole number of at least 1"),
    ("data.val_objects", -3, "a whole number of at least 0"),
    ("data.windows", -2, "a whole number of at least -1"),
    ("data.val_fraction", 1.5, "a number of at most 1"),
    ("model.optim.lr", math.nan, "a number of at least 0"),
    ("model.optim.lr", math.inf, "a finite number"),
    ("model.lora.rank", 0, "a whole number of at least 1"),
    ("model.lora.dropout", -0.1, "a number of at least 0"),
    ("model.loss.chosen", 2, "a number of at most 1"),
    ("trainer.max_steps", -5, "a whole number of at least -1"),
    ("trainer.gradient_clip_val", math.nan, "a number of at least 0"),
    ("early_stopping", -1, "a whole number of at least 0"),
]


def nested(name, value):
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


@pytest.mark.parametrize(("name", "value", "wanted"), OUT_OF_RANGE)
def test_a_number_out_of_its_range_is_named_with_what_is_in_it(name, value, wanted):
    with pytest.raises(UserError, match=rf"{name} is .*: give {wanted}"):
        build(FitSettings, "", nested(name, value))


@pytest.mark.parametrize(("name", "value", "wanted"), OUT_OF_RANGE)
def test_so_is_a_flag(name, value, wanted, capsys):
    assert main(["fit", "--data.path", "nowhere", f"--{name}={value}"]) == 2
    assert f"--{name} is '{value}': give {wanted}" in capsys.readouterr().err


def test_settings_made_in_python_are_looked_at_too():
    with pytest.raises(UserError, match=r"batch_size is 0: give a whole number of at least 1"):
        build(FitSettings, "", {"data": replace(DataSettings(), batch_size=0)})
    with pytest.raises(UserError, match=r"pred_iou_thresh is 7: give a number of at most 1"):
        build(SearchSettings, "search", SearchSettings(pred_iou_thresh=7))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: samtune.evaluate("run", repeats=0),
            "repeats is 0: give a whole number of at least 1",
        ),
        (lambda: samtune.evaluate("run", tolerance=math.nan), "tolerance is nan: give a number"),
        (lambda: samtune.segment("nano", ["a.png"], overlap=-7), "overlap is -7"),
        (
            lambda: samtune.prelabel("nano", ["a.png"], boxes="b", out="o", min_score=3),
            "min_score is 3",
        ),
        (lambda: samtune.thresholds("run", max_images=-1), "max_images is -1"),
    ],
)
def test_so_are_arguments_of_tasks(call, said):
    with pytest.raises(UserError, match=said):
        call()


def test_numbers_in_their_range_are_taken_as_they_are():
    settings = build(FitSettings, "", {"data": {"windows": -1}, "model": {"optim": {"lr": "1e-3"}}})
    assert settings.data.windows == -1
    assert settings.model.optim.lr == 1e-3
    assert settings.trainer.gradient_clip_val == 1.0


@pytest.mark.parametrize("section", ["data", "model", "trainer", "logging"])
@pytest.mark.parametrize("value", ["[1]", "3", "text"])
def test_sections_of_a_config_are_mappings(tmp_path, section, value):
    file = tmp_path / "c.yaml"
    file.write_text(f"{section}: {value}\n")
    if (section, value) == ("data", "text"):  # a path alone
        assert read_settings(file) == {"data": {"path": "text"}}
        return
    with pytest.raises(UserError, match=rf"c\.yaml: {section} is .*give its settings as a mapping"):
        read_settings(file)


@pytest.mark.parametrize("recipe", ["[1]", "{a: 1}", "none such"])
def test_a_recipe_that_is_none_is_no_recipe_of_a_run(tmp_path, recipe):
    (tmp_path / "config.yaml").write_text(f"data: {{recipe: {recipe}}}\n")
    assert recipe_of(tmp_path) is None
