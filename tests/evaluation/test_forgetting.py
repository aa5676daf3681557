"""What was lost: prompts that were not trained, parts of the data, the general set."""

import pytest

from samtune.evaluation.forgetting import losses_of, mark_trained
from samtune.evaluation.summary import summarise
from samtune.prompts.protocols import RECIPES, find_protocols


def rows_of(make_row, protocol, change, kinds=("x",)):
    return [
        make_row(f"{kind}{n}", 0.5, 0.5 + change + 0.002 * n, protocol=protocol,
                 columns=(("kind", kind),))
        for kind in kinds
        for n in range(12)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("boxes", [True, True, False, False, False]),
        ("points", [False, False, True, True, False]),
        ("mixed", [True, True, True, True, True]),
    ],
)
def test_protocols_know_whether_training_simulated_them(make_row, recipe, expected):
    protocols = find_protocols(["box", "box_jitter_20", "point", "clicks_5", "mask_coarse"])
    summaries = {protocol.name: {} for protocol in protocols}
    mark_trained(summaries, tuple(protocols), RECIPES[recipe])
    assert [summary["was_trained"] for summary in summaries.values()] == expected


def test_of_a_foreign_adapter_nobody_knows(make_row):
    summaries = summarise(rows_of(make_row, "box", 0.1))
    mark_trained(summaries, tuple(find_protocols(["box"])), None)
    assert summaries["box"]["was_trained"] is None


def test_untrained_prompts_that_fell_are_warned_of(make_row):
    rows = rows_of(make_row, "box", 0.1) + rows_of(make_row, "point", -0.2)
    summaries = summarise(rows)
    mark_trained(summaries, tuple(find_protocols(["box", "point"])), RECIPES["boxes"])
    assert [loss.text for loss in losses_of(summaries, None, "")] == [
        "forgotten: 'point' prompts, which training did not simulate, fell by 0.189"
    ]


def test_a_part_that_fell_while_the_whole_rose_is_warned_of(make_row):
    summaries = summarise(
        rows_of(make_row, "box", 0.3, ["a"]) + rows_of(make_row, "box", -0.1, ["b"])
    )
    (warning,) = [each.text for each in losses_of(summaries, None, "") if "kind" in each.text]
    assert warning == "worse for some: kind b (12 objects): box -0.089"


def test_the_general_set_is_watched(make_row):
    summaries = summarise(rows_of(make_row, "box", 0.1))
    general = summarise(rows_of(make_row, "point", -0.1))
    (loss,) = losses_of(summaries, general, "drawn")
    warning = loss.text
    assert warning.startswith(
        "forgotten: on the general set (drawn) 'point' prompts fell by 0.089 (0.500 to 0.411)"
    )


def test_nothing_lost_is_no_warning(make_row):
    summaries = summarise(rows_of(make_row, "box", 0.1))
    assert losses_of(summaries, summarise(rows_of(make_row, "box", 0.0)), "drawn") == []
