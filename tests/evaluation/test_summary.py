"""From rows to means, paired differences and what they are of."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from samtune.evaluation import statistics
from samtune.evaluation.summary import average_repeats, summarise


class TestMeans:
    def test_over_objects_and_over_images(self, rows):
        box = summarise(rows)["box"]
        assert box["base"]["miou"] == pytest.approx(0.5)
        assert box["tuned"]["miou"] == pytest.approx(0.6)
        assert box["base"]["miou_per_image"] == pytest.approx((0.3 + 0.9) / 2)
        assert box["tuned"]["miou_per_image"] == pytest.approx((0.45 + 0.9) / 2)
        assert box["base"]["dice"] == pytest.approx((0.4 / 1.2 + 0.8 / 1.4 + 1.8 / 1.9) / 3)
        assert box["base"]["predicted_iou"] == 0.5
        assert (box["num_objects"], box["num_images"]) == (3, 2)

    def test_the_difference_is_paired_and_counted(self, rows):
        delta = summarise(rows)["box"]["delta"]
        assert delta["miou"] == pytest.approx(0.1)
        assert (delta["num_gained"], delta["num_tied"], delta["num_lost"]) == (2, 1, 0)

    def test_a_thousandth_is_a_tie_and_more_is_not(self, make_row):
        changes = (0.0009, -0.0009, 0.0011, -0.0011, -0.2)
        rows = [make_row("a", 0.5, 0.5 + c, object_id=n) for n, c in enumerate(changes)]
        delta = summarise(rows)["box"]["delta"]
        assert (delta["num_gained"], delta["num_tied"], delta["num_lost"]) == (1, 2, 2)

    def test_protocols_stand_apart_in_the_order_of_their_rows(self, make_row):
        rows = [
            make_row("a", 0.1, 0.2, protocol="point"),
            make_row("a", 0.5, 0.7, protocol="box"),
            make_row("b", 0.3, 0.4, protocol="point"),
        ]
        summaries = summarise(rows)
        assert list(summaries) == ["point", "box"]
        assert summaries["point"]["base"]["miou"] == pytest.approx(0.2)
        assert summaries["box"]["tuned"]["miou"] == pytest.approx(0.7)

    def test_a_base_alone_has_neither_tuned_nor_difference(self, make_row):
        box = summarise([make_row("a", 0.2), make_row("b", 0.4)])["box"]
        assert box["base"]["miou"] == pytest.approx(0.3)
        assert box["tuned"] is box["delta"] is None


class TestClasses:
    def test_each_class_has_its_own_numbers_in_the_order_of_names(self, rows):
        classes = summarise(rows)["box"]["breakdown"]["class"]
        assert list(classes) == ["cell", "nucleus"]
        assert classes["cell"]["base"]["miou"] == pytest.approx(0.55)
        assert classes["cell"]["delta"]["miou"] == pytest.approx(0.05)
        assert (classes["cell"]["num_objects"], classes["cell"]["num_images"]) == (2, 2)
        assert classes["nucleus"]["tuned"]["miou"] == pytest.approx(0.6)
        assert classes["nucleus"]["delta"]["ci95"] is None

    def test_objects_without_classes_have_no_such_table(self, make_row):
        assert "class" not in summarise([make_row("a", 0.2, 0.3)])["box"]["breakdown"]

    def test_objects_without_a_class_stand_beside_named_ones(self, make_row):
        rows = [make_row("a", 0.2), make_row("a", 0.4, class_name="x")]
        assert list(summarise(rows)["box"]["breakdown"]["class"]) == ["(none)", "x"]


class TestPixels:
    def test_overlap_over_all_pixels_weighs_large_objects_more(self, make_row):
        box = summarise([make_row("a", 0.2), make_row("b", 0.8)])["box"]["base"]
        # each truth has 100 pixels; 20 and 80 of them were found, and nothing else
        assert box["iou_of_pixels"] == pytest.approx(100 / 200)
        assert box["dice_of_pixels"] == pytest.approx(2 * 100 / 300)


class TestRepeats:
    def test_draws_of_one_object_are_one_object(self, make_row):
        rows = [make_row("a", 0.2, 0.4), make_row("a", 0.4, 0.8, repeat=1), make_row("b", 0.5, 0.5)]
        box = summarise(rows)["box"]
        assert box["num_objects"] == 2
        assert box["base"]["miou"] == pytest.approx((0.3 + 0.5) / 2)
        assert box["delta"]["miou"] == pytest.approx((0.3 + 0.0) / 2)
        assert box["repeats"] == {
            "base": [pytest.approx(0.35), pytest.approx(0.4)],
            "tuned": [pytest.approx(0.45), pytest.approx(0.8)],
        }

    def test_one_draw_is_left_as_it_is(self, rows):
        assert average_repeats(rows) == rows
        assert summarise(rows)["box"]["repeats"] is None


class TestClicks:
    def test_iou_after_each_and_the_number_that_is_needed(self, make_row):
        rows = [
            make_row("a", 0.9, clicks=(0.5, 0.82, 0.9)),
            make_row("b", 0.6, clicks=(0.4, 0.5, 0.6)),
        ]
        clicks = summarise(rows)["box"]["clicks"]["base"]
        assert clicks["iou"] == pytest.approx([0.45, 0.66, 0.75])
        assert clicks["noc"]["80"] == {"mean": (2 + 3) / 2, "failed": 0.5}
        assert clicks["noc"]["85"] == {"mean": (3 + 3) / 2, "failed": 0.5}
        assert clicks["noc"]["90"] == {"mean": (3 + 3) / 2, "failed": 0.5}

    def test_other_protocols_have_none(self, rows):
        assert summarise(rows)["box"]["clicks"] is None


class TestInstances:
    def test_they_are_there_where_an_image_has_two_objects(self, rows, make_row):
        found = summarise(rows)["box"]["instances"]
        assert found.keys() == {"base", "tuned"}
        assert found["tuned"]["ap50"] > found["base"]["ap50"] > 0
        assert summarise([make_row("a", 0.9), make_row("b", 0.9)])["box"]["instances"] is None


class TestCorrection:
    def test_p_values_are_corrected_over_protocols(self, make_row):
        rows = [
            make_row(f"{n}", 0.5, 0.5 + change * (1 + 0.01 * n), protocol=protocol)
            for protocol, change in (("box", 0.1), ("point", 0.2))
            for n in range(7)
        ]
        summaries = summarise(rows)
        for name in ("box", "point"):
            delta = summaries[name]["delta"]
            assert delta["p"] == pytest.approx(2 / 2**7)
            assert delta["p_holm"] == pytest.approx(2 * 2 / 2**7)
            assert delta["verdict"] == "better"

    def test_a_group_that_is_really_worse_is_reported_as_worse(self, make_row):
        rng = np.random.default_rng(0)
        rows = [
            make_row(
                f"{kind}{n}", 0.6, 0.6 + change + 0.02 * rng.normal(), columns=(("stain", kind),)
            )
            for kind, change in (("h", 0.2), ("e", -0.1))
            for n in range(12)
        ]
        box = summarise(rows)["box"]
        assert box["delta"]["miou"] == pytest.approx(0.05, abs=0.01)
        stains = box["breakdown"]["stain"]
        assert stains["h"]["delta"]["verdict"] == "better"
        assert stains["e"]["delta"]["verdict"] == "worse"

    def test_within_one_group_its_images_are_the_units(self, make_row):
        rows = [
            make_row(
                f"{kind}{n}", 0.6, 0.6 + change * (1 + 0.01 * n), cluster=kind,
                columns=(("patient", kind),),
            )
            for kind, change in (("p", 0.2), ("q", -0.1))
            for n in range(12)
        ]  # fmt: skip
        box = summarise(rows)["box"]
        assert (box["num_clusters"], box["delta"]["verdict"]) == (2, "unknown")
        part = box["breakdown"]["patient"]["q"]
        assert (part["num_clusters"], part["delta"]["verdict"]) == (12, "worse")

    @pytest.mark.slow
    def test_parts_of_all_protocols_are_one_family(self, make_row, monkeypatch):
        """On data without any difference, few reports warn of a part that fell."""
        monkeypatch.setattr(statistics, "NUM_RESAMPLES", 500)
        rng, num_warned = np.random.default_rng(0), 0
        for _ in range(40):
            rows = [
                make_row(
                    f"{n}", 0.6, 0.6 + 0.05 * rng.normal(), protocol=protocol, area=n + 1,
                    contrast=float(rng.uniform()), class_name="xy"[n % 2],
                    columns=(("site", "abc"[n % 3]),),
                )
                for protocol in ("box", "point", "clicks_5")
                for n in range(36)
            ]  # fmt: skip
            verdicts = [
                part["delta"]["verdict"]
                for summary in summarise(rows).values()
                for parts in summary["breakdown"].values()
                for part in parts.values()
            ]
            assert len(verdicts) == 3 * (2 + 3 + 3 + 3)
            num_warned += "worse" in verdicts
        assert num_warned <= 4

    def test_equal_ious_of_other_masks_are_not_identical(self, make_row):
        rows = [make_row(f"{n}", 0.5, 0.5) for n in range(9)]
        shifted = replace(rows[0].scores["tuned"], predicted_iou=0.7)
        rows[0] = replace(rows[0], scores={**rows[0].scores, "tuned": shifted})
        delta = summarise(rows)["box"]["delta"]
        assert (delta["miou"], delta["is_identical"]) == (0, False)

    def test_identical_models_differ_by_exactly_nothing(self, make_row):
        delta = summarise([make_row(f"{n}", 0.1 * n, 0.1 * n) for n in range(9)])["box"]["delta"]
        assert delta["miou"] == 0
        assert delta["ci95"] == [0, 0]
        assert (delta["p"], delta["verdict"], delta["is_identical"]) == (1.0, "identical", True)


def test_the_schema_describes_every_field(rows):
    schema = json.loads(
        (Path(__file__).parents[2] / "samtune/evaluation/results.schema.json").read_text()
    )
    protocol = schema["$defs"]["protocol"]["properties"]
    summary = summarise(rows)["box"]
    assert summary.keys() <= protocol.keys()
    assert summary["base"].keys() == schema["$defs"]["means"]["properties"].keys()
    assert summary["delta"].keys() == schema["$defs"]["delta"]["properties"].keys()
