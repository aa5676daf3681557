"""What focus brings is counted over the same prompts of the same objects."""

from types import SimpleNamespace

import pytest

from samtune.data.source import Record
from samtune.evaluation.aids import aid_lines, gain_of, without
from samtune.evaluation.settings import EvaluationSettings
from samtune.prompts.protocols import find_protocols
from samtune.types import ObjectKey


def row(image, number, protocol, base, tuned, repeat=0):
    scores = {name: SimpleNamespace(iou=iou) for name, iou in (("base", base), ("tuned", tuned))}
    key = ObjectKey(image, number)
    return SimpleNamespace(key=key, protocol=protocol, scores=scores, repeat=repeat)


def test_means_are_over_what_was_asked_both_ways():
    closely = [row("a", 1, "box", 0.8, 0.9), row("a", 2, "box", 0.6, 0.7), row("b", 1, "box", 0, 0)]
    plainly = [row("a", 1, "box", 0.5, 0.6), row("a", 2, "box", 0.3, 0.5)]
    base, tuned = gain_of(closely, plainly)
    assert base == {
        "protocol": "box", "contestant": "base", "without": pytest.approx(0.4),
        "with": pytest.approx(0.7), "num_objects": 2,
    }  # fmt: skip
    assert (tuned["without"], tuned["with"]) == (pytest.approx(0.55), pytest.approx(0.8))
    assert aid_lines([base]) == [["box", "base", "0.400", "0.700", "+0.300", "2"]]


def test_of_several_draws_the_first_is_compared():
    closely = [row("a", 1, "point", 0.8, 0.8), row("a", 1, "point", 0.2, 0.2, repeat=1)]
    (base, _) = gain_of(closely, [row("a", 1, "point", 0.5, 0.5)])
    assert base["with"] == pytest.approx(0.8)


@pytest.fixture
def source(tmp_path):
    records = [Record(name, tmp_path / name) for name in "abc"]
    return SimpleNamespace(records=records, is_tiled=False, is_part=False)


def test_images_without_an_object_are_not_asked_again(source):
    settings = EvaluationSettings(tuple(find_protocols(["box", "clicks_3"])), tile=64)
    images, plain = without("focus", source, settings, [row("b", 1, "box", 1, 1)])
    assert [record.image_id for record in images.records] == ["b"]
    assert [each.name for each in plain.protocols] == ["box"]
    assert (plain.with_focus, plain.tile) == (False, 0)


@pytest.mark.parametrize(("protocols", "with_focus"), [(["clicks_3"], True), (["box"], False)])
def test_there_is_nothing_to_compare_without_focus_or_a_kind_that_has_one(
    source, protocols, with_focus
):
    settings = EvaluationSettings(tuple(find_protocols(protocols)), with_focus=with_focus)
    assert without("focus", source, settings, [row("b", 1, "box", 1, 1)]) is None
