"""A training that is planned by time."""

from types import SimpleNamespace

import pytest
import torch

from samtune.errors import UserError
from samtune.training.budget import (
    CHOICE_SHARE,
    SHARPENING_SHARE,
    Budget,
    find_budget,
    seconds_of,
    steps_of,
)
from samtune.training.optim import build_schedule
from samtune.training.settings import OptimSettings


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1.5h", 5400), (" 2 m ", 120), ("", 0)]
)
def test_a_time_is_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("text", "steps"), [("700 steps", 700), ("1 step", 1), ("12steps", 12), ("5m", 0), ("", 0)]
)
def test_so_are_steps_which_are_no_time(text, steps):
    assert steps_of(text) == steps
    assert not steps or seconds_of(text) == 0


@pytest.mark.parametrize(
    "text", ["0 steps", "-3 steps", "1.5 steps", "5", "m", "-5m", "0s", "5 min", "1d", "nan s"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UserError, match="give a time, such as 90s, 5m"):
        seconds_of(text)


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(value=1000.0)
    monkeypatch.setattr("samtune.training.budget.time.monotonic", lambda: now.value)
    return now


def trainer_of(budget):
    decide = SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision)
    return SimpleNamespace(callbacks=[budget], should_stop=False, strategy=decide)


def test_training_ends_when_its_share_of_the_time_is_over(clock):
    budget = Budget(100)
    trainer = trainer_of(budget)
    budget.on_fit_start(trainer, None)
    for seconds, is_over in ((0, False), (79, False), (81, True)):
        clock.value = 1000 + seconds
        budget.on_train_batch_end(trainer, None, None, None, 0)
        assert trainer.should_stop == is_over
    assert budget.left == pytest.approx(19)
    assert budget.progress == 1
    assert CHOICE_SHARE == 0.2


@pytest.mark.parametrize(
    ("sharpening", "gain", "is_over"), [(0.4, 0.009, True), (0.4, -0.1, True), (0.4, 0.011, False),
                                        (0.0, 0.0, False)],
)  # fmt: skip
def test_training_that_gains_nothing_leaves_its_time_to_sharpening(
    clock, sharpening, gain, is_over
):
    budget = Budget(100, sharpening)
    trainer = trainer_of(budget)
    trainer.callback_metrics = {"val/base_miou": torch.tensor(0.7), "val/miou": 0.7 + gain}
    trainer.sanity_checking, trainer.global_step = True, 40
    budget.on_fit_start(trainer, None)
    budget.on_validation_end(trainer, None)
    trainer.sanity_checking, trainer.global_step = False, 29  # so few say nothing
    budget.on_validation_end(trainer, None)
    assert not trainer.should_stop
    trainer.global_step = 30
    clock.value += 10
    budget.on_validation_end(trainer, None)
    assert trainer.should_stop == is_over
    assert budget.left == pytest.approx(90)
    # the choice has no more time for it
    assert budget.left_to_choose == pytest.approx(20)
    again = Budget(100, sharpening)
    again.load_state_dict(budget.state_dict())
    assert again.progress == (1 if is_over else pytest.approx(10 / budget.training_seconds))


def test_a_validation_without_the_base_ends_nothing(clock):
    budget = Budget(100, 0.4)
    trainer = trainer_of(budget)
    trainer.callback_metrics = {"val/score": torch.tensor(0.1)}  # of a head
    trainer.sanity_checking, trainer.global_step = False, 70
    budget.on_fit_start(trainer, None)
    budget.on_validation_end(trainer, None)
    assert not trainer.should_stop


def test_time_goes_on_where_a_run_is_resumed(clock):
    first = Budget(100)
    first.on_fit_start(trainer_of(first), None)
    clock.value += 40
    again = Budget(100)
    again.load_state_dict(first.state_dict())
    clock.value += 500  # it lay there
    again.on_fit_start(trainer_of(again), None)
    clock.value += 10
    assert again.elapsed == pytest.approx(50)


def test_a_trainer_without_one_has_none():
    assert find_budget(SimpleNamespace(callbacks=[])) is None


def test_the_learning_rate_follows_the_time():
    share = SimpleNamespace(value=0.0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    settings = OptimSettings(warmup_steps=4, final_lr=0.1)
    schedule = build_schedule(optimizer, settings, float("inf"), lambda: share.value)
    rates = []
    for step in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        share.value = step / 7
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.25)
    assert rates[:4] == sorted(rates[:4])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1)


def test_validations_are_spread_over_it():
    budget = Budget(400)
    assert budget.between_validations.total_seconds() == pytest.approx(320 / 3)
    assert Budget(60).most_validated == 12
    assert Budget(600).most_validated == 60
    assert Budget(10**6).most_validated == 200


@pytest.mark.parametrize(("seconds", "sharpening"), [(60, 24), (300, 120), (7200, 900)])
def test_sharpening_has_its_share_but_not_without_end(seconds, sharpening):
    budget = Budget(seconds, SHARPENING_SHARE)
    assert budget.sharpening_seconds == pytest.approx(sharpening)
    assert budget.training_seconds == pytest.approx(seconds * (1 - CHOICE_SHARE) - sharpening)
    assert Budget(seconds).sharpening_seconds == 0
