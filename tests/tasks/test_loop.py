"""A round of tuning on what was accepted."""

import json

import numpy as np
import pytest
from PIL import Image

import samtune
from samtune.errors import UserError
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.page.rounds import read_rounds
from samtune.tasks.loop import _of_training, _snapshot
from tests.conftest import draw_discs


@pytest.fixture
def annotated(tmp_path):
    """A folder of annotations: every disc of six pictures, three of which are held out."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    truths = {}
    for number in range(6):
        image, truths[number] = draw_discs((96, 96), 3, number)
        Image.fromarray(image).save(folder / f"p{number}.png")
    opened = samtune.open("nano", folder)
    for number, labels in truths.items():
        for value in np.unique(labels)[1:]:
            opened.session.mend(number, PlacedMask.of(labels == value))
            opened.session.accept(number)
    assert opened.headline.startswith("18 objects in 6 images")
    return opened.session.out


def test_the_snapshot_holds_what_was_accepted_and_no_more(annotated, tmp_path):
    train, held_out, reading = _snapshot(annotated, tmp_path / "data")
    assert (train, held_out) == (["p0", "p2", "p4"], ["p1", "p3", "p5"])
    assert reading["stretch"] == "none"
    names = [
        each["file_name"] for each in json.loads((tmp_path / "data/val.json").read_text())["images"]
    ]
    assert names == [str(annotated / "images" / f"p{number}.png") for number in (1, 3, 5)]


def test_too_little_is_told(tmp_path):
    with pytest.raises(UserError, match="0 images to train on and 0 held-out"):
        samtune.loop(tmp_path, model="nano")


def test_a_folder_of_another_tool_is_refused(tmp_path):
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}
    (tmp_path / "train.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="use samtune fit"):
        samtune.loop(tmp_path, model="nano")


@pytest.mark.slow
def test_rounds_go_on_from_what_helped_and_the_held_out_are_never_trained_on(annotated):
    for _ in range(2):
        samtune.loop(annotated, model="nano", budget="12s")
    first, second = read_rounds(annotated)
    assert first.trained_on == ["p0", "p2", "p4"]
    assert first.held_out == ["p1", "p3", "p5"]
    assert first.model == "nano"
    assert second.model == (first.run if first.is_used else "nano")
    assert 0 < first.present.miou < 1
    opened = samtune.open("nano", annotated.parent / "pictures")
    assert opened.session.kept.trained_on == (
        set(first.trained_on) if first.is_used or second.is_used else set()
    )
    is_tuned = first.is_used or second.is_used
    assert opened.session.answering.names == (("base", "tuned") if is_tuned else ("base",))


@pytest.mark.parametrize(
    ("budget", "of_training"),
    [("60s", "30s"), ("5m", "150s"), ("4s", "5s"), ("60 steps", "60 steps")],
)
def test_training_gets_half_of_the_time_or_all_of_the_steps(budget, of_training):
    assert _of_training(budget) == of_training


def test_a_budget_that_is_none_is_told():
    with pytest.raises(UserError, match="give a time"):
        _of_training("soon")
