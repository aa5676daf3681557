"""Tables of a report as Markdown and CSV."""

import csv
import io
from dataclasses import replace

from samtune.evaluation.report.tables import (
    breakdown_lines,
    filled,
    markdown_table,
    metrics_lines,
    noc_lines,
    to_csv,
    to_markdown,
)
from samtune.evaluation.summary import summarise


def cells_of(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


class TestMarkdown:
    def test_a_comparison(self, rows):
        head, rule, row = to_markdown(summarise(rows)).splitlines()
        cells = cells_of(row)
        assert cells[:4] == ["box", "0.500", "0.600", "+0.100"]
        assert " to " in cells[4]
        assert cells[5:] == ["1", "too few images", "2 / 1 / 0", "3", "2"]
        assert head.count("|") == rule.count("|") == row.count("|") == 11

    def test_what_needs_no_network_stands_beside_it(self, make_row):
        row = replace(make_row("a", 0.5, 0.6), trivial={"ellipse": 0.7, "box filled": 0.4})
        assert cells_of(to_markdown(summarise([row])).splitlines()[2])[1] == "0.700 (ellipse)"

    def test_what_is_not_known_of_any_line_has_no_column(self, make_row):
        head, _, one = to_markdown(summarise([make_row("a", 0.5, 0.6)])).splitlines()
        assert cells_of(one) == [
            "box", "0.500", "0.600", "+0.100", "one image or group", "too few images", "1 / 0 / 0",
            "1", "1",
        ]  # fmt: skip
        assert "p (Holm)" not in head
        head, _, alone = to_markdown(summarise([make_row("a", 0.5)])).splitlines()
        assert cells_of(head) == ["protocol", "base mIoU", "objects", "images"]
        assert cells_of(alone) == ["box", "0.500", "1", "1"]

    def test_a_column_stays_where_one_line_has_something(self):
        assert filled(["a", "b", "c"], [["1", "-", "-"], ["2", "-", "3"]]) == (
            ["a", "c"], [["1", "-"], ["2", "3"]],
        )  # fmt: skip

    def test_bars_in_names_do_not_break_it(self):
        assert markdown_table(["a|b"], [["c|d"]]).splitlines()[2] == "| c\\|d |"


class TestLines:
    def test_all_measures_of_both(self, rows):
        lines = {(name, text): values for name, text, *values in metrics_lines(summarise(rows))}
        assert lines["box", "mIoU"] == ["0.500", "0.600"]
        assert lines["box", "HD95"] == ["0.50", "0.40"]
        assert {"AP50", "mSA", "PQ"} <= {text for _, text in lines}

    def test_a_base_alone_has_nothing_beside_it(self, make_row):
        assert metrics_lines(summarise([make_row("a", 0.5)]))[0] == ["box", "mIoU", "0.500", "-"]

    def test_every_part_of_the_data(self, rows):
        lines = breakdown_lines(summarise(rows))
        assert [line[:3] for line in lines] == [
            ["box", "class", "cell"], ["box", "class", "nucleus"],
        ]  # fmt: skip

    def test_numbers_of_clicks(self, make_row):
        summaries = summarise([make_row("a", 0.9, 0.9, clicks=(0.5, 0.9))])
        assert noc_lines(summaries)[0] == ["box", "NoC2@80", "2.00 (0% never)", "2.00 (0% never)"]
        alone = summarise([make_row("a", 0.5, clicks=(0.4, 0.5))])
        assert noc_lines(alone)[0] == ["box", "NoC2@80", "2.00 (100% never)", "-"]


class TestCsv:
    def test_it_has_a_line_for_each_row(self, make_row):
        row = make_row(
            "a", 0.2, 0.3, class_name="cell", columns=(("stain", "h"),), clicks=(0.1, 0.2)
        )
        (line,) = csv.DictReader(io.StringIO(to_csv([row])))
        expected = {
            "protocol": "box", "image_id": "a", "object_id": "1", "class": "cell", "area": "100",
            "cluster": "a", "repeat": "0", "base_iou": "0.200000", "tuned_iou": "0.300000",
            "base_dice": "0.333333", "tuned_hd95": "0.700000", "base_predicted_area": "20",
            "tuned_clicks": "0.1000 0.2000", "column_stain": "h",
        }  # fmt: skip
        assert {name: line[name] for name in expected} == expected

    def test_a_base_alone_has_its_columns_only(self, make_row):
        head, _ = to_csv([make_row("a", 0.5)]).splitlines()
        assert "base_iou" in head
        assert "tuned" not in head

    def test_names_with_commas_and_quotes_are_kept(self, make_row):
        row = make_row('scan 1, left "b"', 0.5, class_name="x,y")
        (line,) = csv.DictReader(io.StringIO(to_csv([row])))
        assert (line["image_id"], line["class"]) == ('scan 1, left "b"', "x,y")

    def test_nothing_is_its_head(self):
        assert to_csv([]).startswith("protocol,image_id,object_id,class,area,")
        assert len(to_csv([]).splitlines()) == 1
