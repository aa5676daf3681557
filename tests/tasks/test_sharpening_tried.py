"""What is tried of a sharpener, in which order, and when that ends."""

from types import SimpleNamespace

import pytest

from samtune.models.sharpening.network import Sharpener
from samtune.tasks import sharpening
from samtune.tasks.sharpening import _is_late, _to_try, sharpened_candidates
from samtune.training import budget as budgets

FULL, HALF, WEAK, QUARTER = (1.0, 1.0), (1.0, 0.5), (0.75, 0.5), (1.0, 0.25)


class Base:
    """What measures: a candidate's gain by its strength and its share of the sharpener's answer."""

    def __init__(self, gains, allowed, num_images=10):
        self.rows = [SimpleNamespace(cluster=str(n)) for n in range(num_images)]
        self.gains, self.allowed, self.asked, self.seconds = gains, allowed, [], 10.0

    def measure(self, sam, weights, strength, amount, seed, best):
        key = (strength, amount)
        assert sam.sharpener.settings.amount == amount
        self.asked.append(key)
        gain, is_allowed = self.gains.get(key, 0.2), key in self.allowed
        return SimpleNamespace(
            weights=weights, strength=strength, sharpening=amount, gain=gain,
            may_be_kept=lambda others: is_allowed and gain > others,
        )  # fmt: skip


class Scale:
    def set(self, strength):
        self.strength = strength


def tried(monkeypatch, base, budget=None):
    monkeypatch.setattr(sharpening, "learn_to_sharpen", lambda *_: Sharpener().eval())
    monkeypatch.setattr(budgets, "find_budget", lambda _: budget)
    trainer = SimpleNamespace(global_step=10)
    training = SimpleNamespace(trainer=trainer, data=SimpleNamespace(seed=0))
    chosen = SimpleNamespace(weights="last", strength=1.0, gain=0.1)
    return sharpened_candidates(training, SimpleNamespace(sharpener=None), base, chosen, Scale())


@pytest.mark.parametrize(
    ("allowed", "asked"),
    [
        ({FULL}, [FULL]),
        ({HALF}, [FULL, HALF]),
        ({WEAK}, [FULL, HALF, WEAK]),
        ({QUARTER}, [FULL, HALF, WEAK, QUARTER]),
        (set(), [FULL, HALF, WEAK, QUARTER]),
    ],
)
def test_weaker_weights_or_less_of_it_follow_where_it_forgets(monkeypatch, allowed, asked):
    base = Base({}, allowed)
    found, left_out = tried(monkeypatch, base)
    assert base.asked == asked
    assert [(each.strength, each.sharpening) for each in found] == asked
    assert not left_out


def test_one_that_gains_less_than_the_weights_alone_is_not_the_end(monkeypatch):
    base = Base({FULL: 0.05}, {FULL, HALF})
    tried(monkeypatch, base)
    assert base.asked == [FULL, HALF]


@pytest.mark.parametrize(("num_images", "first"), [(9, HALF), (10, FULL)])
def test_all_of_it_is_tried_where_ten_independent_images_speak_for_it(num_images, first):
    order = _to_try(Base({}, set(), num_images))
    assert order[0] == first[::-1]
    assert order[-3:] == ((0.5, 1.0), (0.5, 0.75), (0.25, 1.0))


def test_a_budget_that_leaves_no_time_says_so(monkeypatch):
    base = Base({}, {FULL})
    found, left_out = tried(monkeypatch, base, SimpleNamespace(left=10))
    assert not found
    assert not base.asked
    assert "no time left" in left_out[0]


def test_what_there_was_no_time_to_try_is_told(monkeypatch):
    base = Base({}, {QUARTER})
    late = SimpleNamespace(left=100, elapsed=100, seconds=100)
    found, left_out = tried(monkeypatch, base, late)
    assert base.asked == [FULL]
    assert len(found) == 1
    assert "no time to measure 0.5 of the sharpener" in left_out[0]


@pytest.mark.parametrize(("seconds", "is_late"), [(60, True), (300, False)])
def test_a_budget_is_overrun_by_a_tenth_at_most_to_try_more(seconds, is_late):
    budget, base = SimpleNamespace(elapsed=seconds, seconds=seconds), SimpleNamespace(seconds=8)
    assert _is_late(budget, base) == is_late
