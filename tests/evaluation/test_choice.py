"""What a training leaves: the candidate that helps most and hurts none, or the base."""

import numpy as np
import pytest

from samtune.evaluation.choice import choose, measured, next_asked, sentence_of, with_general
from samtune.evaluation.contestants import TUNED
from samtune.evaluation.rows import Row, Score
from samtune.types import ObjectKey

NUM = 24


def rows_of(box, point):
    """An object in each of many images, IoU of a box and of a point in each."""
    rng, rows = np.random.default_rng(0), []
    for protocol, iou in (("box", box), ("point", point)):
        for number in range(NUM):
            value = iou + 0.01 * rng.normal()
            score = Score(value, value, value, value, 10, 5, {})
            rows.append(Row(protocol, ObjectKey(f"i{number}", 1), 10, {TUNED: score}, f"i{number}"))
    return rows


BASE, GENERAL = rows_of(0.8, 0.6), rows_of(0.7, 0.5)


def candidate(box, point, general=(0.7, 0.5), weights="last", strength=1.0):
    found = measured(weights, strength, (BASE, rows_of(box, point)), TUNED, 0)
    return with_general(found, (GENERAL, rows_of(*general)), TUNED, 0)


def test_the_highest_gain_is_taken():
    small, large = candidate(0.81, 0.62, strength=0.5), candidate(0.82, 0.7)
    assert choose([small, large]) is large


def test_no_kind_of_prompt_may_fall():
    falls, kept = candidate(0.78, 0.9), candidate(0.8, 0.65, strength=0.5)
    assert not falls.is_allowed
    assert choose([falls, kept]) is kept


def test_a_fall_within_the_tolerance_is_allowed():
    assert candidate(0.795, 0.7).is_allowed
    assert not candidate(0.785, 0.7).is_allowed


def test_what_forgets_is_not_allowed():
    assert candidate(0.9, 0.9, general=(0.69, 0.49)).is_allowed
    assert not candidate(0.9, 0.9, general=(0.66, 0.5)).is_allowed


def test_without_a_gain_the_base_is_kept():
    assert choose([candidate(0.79, 0.6), candidate(0.7, 0.9)]) is None
    assert choose([]) is None
    assert sentence_of(None, 48, NUM).startswith("the base is kept")


def test_better_is_said_only_where_it_is_sure():
    sure, unsure = candidate(0.85, 0.7), candidate(0.8001, 0.6001)
    assert sure.is_better
    assert sentence_of(sure, 48, NUM).startswith("better than the base: the last weights are kept")
    assert "box +0.050 for sure" in sentence_of(sure, 48, NUM)
    assert not unsure.is_better or unsure.gain > 0
    few = measured(
        "best", 0.5, ([r for r in BASE if r.cluster in ("i0", "i1")],
                      [r for r in rows_of(0.9, 0.9) if r.cluster in ("i0", "i1")]),
        TUNED, 0,
    )  # fmt: skip
    assert not few.is_better
    assert sentence_of(few, 2, 2).startswith("NOT shown to be better than the base (few images")
    assert "best weights at strength 0.5" in sentence_of(few, 2, 2)


def test_changes_are_paired_by_object():
    found = candidate(0.85, 0.55)
    assert found.domain["box"].mean == pytest.approx(0.05)
    assert found.domain["point"].mean == pytest.approx(-0.05)
    assert found.gain == pytest.approx(0)


def asked_in_order(most_allowed, is_scalable=True, growth=0.0, point=0.44):
    """Which are asked one after the other where strengths above one forget too much, to `point`."""
    asked, found = set(), []
    while (wanted := next_asked(asked, found, is_scalable)) is not None:
        weights, strength = wanted
        general = (0.7, 0.5) if strength <= most_allowed else (0.7, point)
        found.append(candidate(0.82 + growth * strength, 0.7, general, weights, strength))
        asked.add(wanted)
    return [(each.weights, each.strength) for each in found]


@pytest.mark.parametrize(
    ("most_allowed", "then"),
    [
        (1.0, [("averaged", 1.0), ("best", 1.0), ("last", 0.75), ("last", 0.5), ("last", 0.25)]),
        (0.75, [("last", 0.5), ("last", 0.75), ("last", 0.25), ("last", 0.875), ("averaged", 1.0)]),
        (0.5, [("last", 0.5), ("last", 0.75), ("last", 0.25), ("last", 0.625), ("averaged", 1.0)]),
        (0.25, [("last", 0.5), ("last", 0.25), ("last", 0.75), ("last", 0.375)]),
        (0.1, [("last", 0.5), ("last", 0.25), ("last", 0.75), ("last", 0.125)]),
    ],
)
def test_what_forgets_too_much_is_asked_weaker_before_anything_else(most_allowed, then):
    order = asked_in_order(most_allowed)
    assert order[0] == ("last", 1.0)
    assert order[1 : 1 + len(then)] == then
    assert len(order) == len(set(order)) == (6 if most_allowed == 1 else 7)


@pytest.mark.parametrize(
    ("point", "most_allowed", "strengths"),
    [
        # 0.02 may be lost; what is lost falls faster than the strength
        (0.47, 0.75, [0.75, 0.5, 0.25, 0.875]),
        (0.47, 0.5, [0.75, 0.5, 0.25, 0.625]),
        (0.45, 0.5, [0.5, 0.75, 0.25, 0.625]),
        (0.38, 0.25, [0.25, 0.5, 0.75, 0.375]),
        (0.0, 0.25, [0.25, 0.5, 0.75, 0.375]),
    ],
)
def test_what_was_lost_says_which_strength_is_likely(point, most_allowed, strengths):
    order = asked_in_order(most_allowed, point=point)
    assert [strength for _, strength in order if strength < 1] == strengths


@pytest.mark.parametrize(
    ("most_allowed", "strengths"),
    [(1.0, [0.75]), (0.75, [0.5, 0.75, 0.875]), (0.1, [0.5, 0.25, 0.75, 0.125])],
)
def test_what_gains_less_for_sure_is_not_asked(most_allowed, strengths):
    order = asked_in_order(most_allowed, growth=0.05)
    assert [strength for _, strength in order if strength < 1] == strengths
    # a gain that falls with the strength says nothing of the weaker ones
    falling = asked_in_order(1.0, growth=-0.01)
    assert [strength for _, strength in falling if strength < 1] == [0.75, 0.5, 0.25]


def test_nothing_stronger_than_all_that_was_trained_is_asked():
    found = [candidate(0.82, 0.7), candidate(0.83, 0.7), candidate(0.7, 0.9, weights="best")]
    found += [candidate(0.81, 0.65, strength=each) for each in (0.25, 0.5, 0.75)]
    asked = {(each.weights, each.strength) for each in found} | {("averaged", 1.0)}
    assert not found[2].is_allowed
    assert next_asked(asked, found, True) is None


def test_weaker_ones_come_first_too_where_all_that_was_trained_gains_nothing():
    found = [candidate(0.795, 0.602)]
    assert found[0].is_allowed
    assert next_asked({("last", 1.0)}, found, True) == ("last", 0.5)


def test_general_pictures_are_asked_only_where_they_may_change_the_choice():
    gains, falls = candidate(0.82, 0.7), candidate(0.78, 0.9)
    assert gains.may_be_kept(0.0)
    assert not gains.may_be_kept(gains.gain)
    assert not falls.may_be_kept(0.0)


def test_an_adapter_without_strengths_is_asked_at_its_own_alone():
    assert asked_in_order(0.5, is_scalable=False) == [
        ("last", 1.0), ("averaged", 1.0), ("best", 1.0),
    ]  # fmt: skip


def test_a_candidate_whose_answers_were_no_numbers_is_not_asked_again():
    assert next_asked({("last", 1.0)}, [], True) == ("averaged", 1.0)
