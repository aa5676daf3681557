"""The bar of a training: its share is the budget's, or that of the steps."""

from types import SimpleNamespace

import pytest

from samtune.training import training_bar
from samtune.training.budget import Budget
from samtune.training.training_bar import TrainingBar, share_over


class Shown:
    def __init__(self, what, initial=0.0):
        self.what, self.n, self.told, self.is_open = what, initial, "", True

    def update(self, more):
        self.n += more

    def set_postfix_str(self, text, refresh):
        self.told = text

    def close(self):
        self.is_open = False


@pytest.fixture
def shown(monkeypatch):
    made = []
    monkeypatch.setattr(
        training_bar, "share_bar", lambda *args: made.append(Shown(*args)) or made[-1]
    )
    return made


def trainer(**more):
    values = {
        "callbacks": [], "callback_metrics": {}, "global_step": 0, "estimated_stepping_batches": 200,
        "sanity_checking": False, "num_sanity_val_batches": [4],
    }  # fmt: skip
    return SimpleNamespace(**{**values, **more})


def test_a_budget_of_time_counts_time_not_steps():
    budget = Budget(100)
    budget.load_state_dict({"elapsed": budget.training_seconds / 4})
    assert share_over(trainer(callbacks=[budget], global_step=190)) == pytest.approx(0.25)
    budget.load_state_dict({"elapsed": 500})
    assert share_over(trainer(callbacks=[budget])) == 1


def test_steps_count_where_there_is_no_budget():
    assert share_over(trainer(global_step=50)) == 0.25


def test_it_runs_from_the_first_step_to_the_last(shown):
    bar = TrainingBar()
    bar.on_train_start(trainer(global_step=20), None)
    bar.on_train_batch_end(
        trainer(global_step=100, callback_metrics={"train/loss": 0.25}), *[None] * 4
    )
    (made,) = shown
    assert (made.what, made.n, made.told) == ("training", pytest.approx(50), "loss 0.250")
    bar.on_validation_batch_end(trainer(global_step=100), *[None] * 4)
    assert made.told == "validating"
    bar.on_train_end(trainer(), None)
    assert not made.is_open


def test_measuring_the_base_is_shown_too(shown):
    bar = TrainingBar()
    bar.on_sanity_check_start(trainer(), None)
    bar.on_validation_batch_end(trainer(sanity_checking=True), None, None, None, 1)
    assert (shown[0].what, shown[0].n) == ("measuring the base", 50)
    bar.on_sanity_check_end(trainer(), None)
    assert not shown[0].is_open


def test_other_processes_show_nothing(shown):
    bar = TrainingBar()
    bar.disable()
    bar.on_train_start(trainer(), None)
    bar.on_train_batch_end(trainer(), *[None] * 4)
    assert shown == []
