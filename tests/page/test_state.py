import pytest

from samtune.errors import UserError
from samtune.page.state import Accepted, Click, History, State


def test_the_prompt_is_all_clicks_and_the_box():
    state = State().clicked(Click(3, 4)).clicked(Click(5, 6, False)).boxed([9, 8, 1, 2])
    prompt = state.prompt
    assert prompt.point_coords.tolist() == [[3, 4], [5, 6]]
    assert prompt.point_labels.tolist() == [1, 0]
    assert prompt.box_xyxy.tolist() == [1, 2, 9, 8]


def test_a_box_alone_has_no_points():
    assert State().boxed([1, 2, 3, 4]).prompt.signature == (0, True, False)
    assert State().prompt is None


def test_a_mended_mask_goes_with_the_next_click(square):
    mended = State().clicked(Click(1, 1)).mended(square)
    assert mended.hand is square
    assert not mended.is_empty
    assert mended.clicked(Click(2, 2)).hand is None


def test_undo_and_redo_go_through_every_state():
    history = History()
    states = [history.state]
    for number in range(3):
        history.change(history.state.clicked(Click(number, 0)))
        states.append(history.state)
    for state in reversed(states[:-1]):
        assert history.undo()
        assert history.state is state
    assert not history.undo()
    assert history.redo()
    assert history.state is states[1]
    history.change(history.state.cleared())
    assert not history.can_redo
    # every change has a number of its own, those back and forth too
    assert history.number == 8


def test_objects_are_numbered_replaced_named_and_removed():
    rle = {"size": [2, 2], "counts": "04"}
    first, second = Accepted(1, "a", rle, "tuned", 0.5), Accepted(2, "b", rle, "base", 0.4)
    state = State().accepted(first).accepted(second)
    assert [(each.number, each.name) for each in state.objects] == [(1, "a"), (2, "b")]
    again = state.editing(1).accepted(Accepted(1, "c", rle, "hand"))
    assert [(each.number, each.name, each.by) for each in again.objects] == [
        (1, "c", "hand"), (2, "b", "base"),
    ]  # fmt: skip
    assert [each.name for each in again.named(2, "d").objects] == ["c", "d"]
    assert [each.number for each in again.without(1).objects] == [2]
    with pytest.raises(UserError, match="no object 7"):
        state.editing(7)


def test_the_number_of_objects_changes_with_them_alone():
    history = History()
    history.change(history.state.clicked(Click(1, 1)))
    assert history.objects_number == 0
    made = Accepted(1, "a", {"size": [1, 1], "counts": "01"}, "hand")
    history.change(history.state.accepted(made))
    assert history.objects_number == 2
