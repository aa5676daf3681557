"""Files of an evaluation: results.json, objects.csv, report.md, one self-contained page, a picture."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image

from samtune.evaluation.asking import Answer
from samtune.evaluation.assess import assess
from samtune.evaluation.comparing import Comparison
from samtune.evaluation.report.gallery import Gallery
from samtune.evaluation.report.page import render
from samtune.evaluation.report.tables import to_csv
from samtune.evaluation.report.writing import examples_picture, write_report
from samtune.evaluation.settings import EvaluationSettings
from samtune.models.calibration import Calibration, Threshold
from samtune.prompts.protocols import RECIPES, find_protocols
from samtune.types import Prompt, Sample

SCHEMA = Path(__file__).parents[3] / "samtune/evaluation/results.schema.json"
SETTINGS = EvaluationSettings(tuple(find_protocols(["box", "point"])))
VOID = {"meta", "img"}


class Tags(HTMLParser):
    """Collects attributes, and text by tag; complains where tags do not match."""

    def __init__(self, page):
        super().__init__()
        self.open, self.attributes, self.text = [], [], {}
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.text.setdefault(self.open[-1] if self.open else "", []).append(data)


@pytest.fixture
def rows(make_row):
    return [
        make_row("<b>bold</b>", 0.2, 0.3, class_name="<i>cell</i>"),
        make_row("<b>bold</b>", 0.4, 0.7, object_id=2, class_name="nucleus & co"),
        make_row("b", 0.9, 0.8, class_name="nucleus & co"),
        make_row("b", 0.1, 0.1, protocol="point", class_name="nucleus & co"),
    ]


@pytest.fixture
def about():
    hashes = dict.fromkeys(("base_sha256", "weights_sha256", "data_sha256"), "0" * 64)
    return {
        "command": "samtune evaluate x", "model": "runs/<script>alert(1)</script>", "data": "d",
        "split": "test", "seed": 3, "with_multimask": True, "versions": {"torch": "2"}, **hashes,
    }  # fmt: skip


def fill(rows):
    gallery = Gallery(size=12, side=24)
    prompt = Prompt(np.array([[15, 1]], np.float32), np.array([1]))
    for row in rows:
        image, labels = np.full((*row.hw, 3), 120, np.uint8), np.zeros((1, *row.hw), np.int32)
        sample = Sample(row.key.image_id, image, labels)
        gallery.add(Answer(row, sample, lambda: prompt))
    return gallery


def assessed(rows, about, general=None, calibration=None, recipe=None):
    domain = Comparison(rows, "0" * 64)
    elsewhere = None if general is None else Comparison(general, "1" * 64)
    found = assess(domain, elsewhere, "drawn", SETTINGS, recipe, calibration)
    return {**found, "about": about}


@pytest.fixture
def page(rows, about):
    return render(rows, assessed(rows, about), fill(rows))


class TestFiles:
    def test_all_are_written_and_the_results_returned(self, rows, about, tmp_path):
        folder = tmp_path / "evaluation"
        results = write_report(folder, rows, assessed(rows, about), fill(rows))
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["examples.png", "objects.csv", "report.html", "report.md", "results.json"]
        assert json.loads((folder / "results.json").read_text()) == results
        assert (folder / "objects.csv").read_text() == to_csv(rows)
        assert results["headline"] in (folder / "report.md").read_text()

    def test_results_are_as_their_schema_says(self, rows, about, make_row, tmp_path):
        calibration = Calibration(
            (0.0, 1.0), (0.1, 0.9), "isotonic", 30, "val", (Threshold(0.8, 0.9, None, 0.0),)
        )
        general = [make_row(f"{n}", 0.5, 0.3) for n in range(9)]
        clicks = [make_row("c", 0.5, 0.6, protocol="clicks_2", clicks=(0.4, 0.5))]
        many = [make_row(f"{n}", 0.1 * n, 0.6, contrast=n, repeat=n % 2) for n in range(1, 10)]
        schema = json.loads(SCHEMA.read_text())
        for number, (these, more) in enumerate(
            (
                (rows, {}),
                (rows, {"general": general, "calibration": calibration}),
                (rows + clicks, {"recipe": RECIPES["boxes"]}),
                (many, {}),
                ([make_row("a", 0.5)], {}),
            )
        ):
            found = assessed(these, about, **more)
            results = write_report(tmp_path / str(number), these, found, Gallery())
            jsonschema.validate(json.loads(json.dumps(results)), schema)

    def test_results_hold_what_other_programs_read(self, rows, about, tmp_path):
        results = write_report(tmp_path, rows, assessed(rows, about), fill(rows))
        assert results["format"] == 2
        assert results["about"] == about
        assert list(results["protocols"]) == ["box", "point"]
        box = results["protocols"]["box"]
        assert box["base"]["miou"] == pytest.approx(0.5)
        assert box["tuned"]["miou"] == pytest.approx(0.6)
        assert box["delta"]["miou"] == pytest.approx(0.1)
        assert box["delta"]["ci95"][0] < 0.1 < box["delta"]["ci95"][1]
        assert (box["num_objects"], box["num_images"]) == (3, 2)
        assert results["protocols"]["point"]["delta"]["ci95"] is None

    def test_a_second_report_replaces_the_first(self, rows, about, tmp_path):
        write_report(tmp_path, rows, assessed(rows, about), fill(rows))
        write_report(tmp_path, rows[:1], assessed(rows[:1], about), fill(rows[:1]))
        assert len((tmp_path / "objects.csv").read_text().splitlines()) == 2
        assert json.loads((tmp_path / "results.json").read_text())["protocols"].keys() == {"box"}

    def test_a_picture_of_an_earlier_report_does_not_stay(self, rows, about, tmp_path):
        write_report(tmp_path, rows, assessed(rows, about), fill(rows))
        write_report(tmp_path, rows, assessed(rows, about), Gallery())
        assert not (tmp_path / "examples.png").exists()

    def test_the_picture_shows_gains_and_losses_with_their_names_and_numbers(
        self, rows, about, tmp_path
    ):
        gallery = fill(rows)
        write_report(tmp_path, rows, assessed(rows, about), gallery)
        picture = np.asarray(Image.open(tmp_path / "examples.png"))
        assert (len(gallery.gains), len(gallery.losses)) == (2, 1)
        # two headings of 24 rows, two heads of 20; panels of 24 x 2 pixels, as images of 100 x 10
        # become, each with a line of 20 below; 4 between all
        assert picture.shape == (2 * (24 + 20) + 3 * (2 + 20) + 9 * 4, 5 * 24 + 4 * 4, 3)

    def test_without_gains_the_losses_are_shown(self, make_row):
        gallery = fill([make_row("a", 0.5, 0.4)])
        assert list(gallery.groups) == ["Largest losses"]
        assert examples_picture(gallery).shape[0] == 24 + 20 + 2 + 20 + 3 * 4
        assert examples_picture(Gallery()) is None

    def test_each_picture_stands_in_one_group(self, rows, make_row):
        groups = fill(rows).groups
        assert [len(its) for its in groups.values()] == [2, 1, 1]
        alone = fill([make_row("a", 0.6), make_row("b", 0.3)]).groups
        assert {name: [p.row.key.image_id for p in its] for name, its in alone.items()} == {
            "Lowest IoU first": ["b", "a"]
        }


class TestPage:
    def test_nothing_is_loaded_from_elsewhere(self, page):
        for word in ("http", "@import", "url(", "<link", 'src="/', "fetch("):
            assert word not in page
        sources = [v for _, name, v in Tags(page).attributes if name in ("src", "href", "data")]
        assert len(sources) == 4
        assert all(value.startswith("data:image/webp;base64,") for value in sources)

    def test_names_are_escaped_wherever_they_stand(self, page):
        for name in ("<b>bold", "<i>", "<script>alert", "nucleus & co"):
            assert name not in page
        assert "box, &lt;b&gt;bold&lt;/b&gt;, object 2 nucleus &amp; co</figcaption>" in page
        assert "<td>class &lt;i&gt;cell&lt;/i&gt;</td>" in page
        assert "runs/&lt;script&gt;alert(1)&lt;/script&gt;" in page

    def test_tags_match_and_the_language_and_encoding_are_said(self, page):
        attributes = Tags(page).attributes
        assert page.startswith("<!doctype html>")
        assert ("html", "lang", "en") in attributes
        assert ("meta", "charset", "utf-8") in attributes

    def test_the_sentence_stands_at_the_top_then_warnings_then_numbers(self, rows, about, make_row):
        general = [make_row(f"{n}", 0.6, 0.5 - 0.01 * n) for n in range(9)]
        found = assessed(rows, about, general)
        page = render(rows, found, fill(rows))
        warning = Tags(page).text["li"][0]
        assert warning == found["warnings"][0]
        assert warning.startswith("forgotten: on the general set (drawn) 'box' prompts fell by")
        places = [
            page.index(text)
            for text in ('<p class="headline">', "<li>", "What to do", "<table", "<svg")
        ]
        assert places == sorted(places)

    def test_the_table_holds_the_numbers(self, page):
        row = re.search(r"<tr><td>box</td>.*?</tr>", page).group()
        cells = re.findall(r"<td[^>]*>(.*?)</td>", row)
        assert cells[:4] == ["box", "0.500", "0.600", "+0.100"]
        assert cells[6:] == ["too few images", "2 / 0 / 1", "3", "2"]

    def test_there_is_one_table_for_both_sets_of_images(self, rows, about, make_row):
        general = [make_row(f"{n}", 0.6, 0.5) for n in range(9)]
        page = render(rows, assessed(rows, about, general), fill(rows))
        table = re.search(r"<table>.*?</table>", page, re.DOTALL).group()
        names = re.findall(r'<th class="part" colspan="10">(.*?)</th>|<tr><td>(.*?)</td>', table)
        assert [a or b for a, b in names] == [
            "your held-out images", "box", "point",
            "was anything lost elsewhere? general set: drawn", "box",
        ]  # fmt: skip

    def test_calibration_says_how_many_masks_stand_behind_a_point(self, page):
        assert "Predicted and measured IoU (box), 1 mask a point" in page

    def test_the_histogram_counts_every_object(self, page):
        charts = re.findall(r'<svg[^>]*aria-label="histogram".*?</svg>', page)
        counts = [sum(map(int, re.findall(r": (\d+)</title>", chart))) for chart in charts]
        assert counts == [3, 1]

    def test_captions_tell_both_ious(self, page):
        assert '<b class="better">+0.300 (IoU 0.400 to 0.700)</b> box, &lt;b&gt;bold' in page
        assert '<b class="worse">-0.100 (IoU 0.900 to 0.800)</b> box, b, object 1 nucl' in page
        assert '<b class="">+0.000 (IoU 0.100 to 0.100)</b> point, b, object 1 nucleus' in page

    def test_pictures_carry_what_they_are_sorted_by(self, page):
        gains = [float(v) for tag, name, v in Tags(page).attributes if name == "data-gain"]
        assert sorted(gains) == [-0.1, 0.0, 0.1, 0.3]

    def test_a_base_alone_is_called_so(self, make_row, about):
        rows = [make_row("a", 0.25), make_row("b", 0.75)]
        page = render(rows, assessed(rows, about), fill(rows))
        assert "count pixels (voxels) of edges, each the same, as MONAI does" in page
        assert "<title>The base alone</title>" in page
        assert "The base alone, on 2 objects in 2 images: mIoU box 0.500." in page
        for word in ("tuned", "<td>-</td>", "Holm"):
            assert word not in re.sub(r"(?s)<(style|script)>.*?</\1>", "", page)
        Tags(page)

    def test_robustness_and_clicks_have_charts(self, make_row, about):
        rows = [
            make_row("a", 0.5, 0.6, protocol=name)
            for name in ("box", "box_jitter_5", "box_jitter_20", "box_outward_5")
        ]
        rows.append(make_row("a", 0.5, 0.6, protocol="clicks_2", clicks=(0.4, 0.5)))
        page = render(rows, assessed(rows, about), fill(rows))
        assert "With a worse box: sides of the box moved by up to (% of its size)" in page
        assert "With a worse box: box grown on each side (px)" in page
        assert "IoU after each prompt (clicks_2)" in page

    def test_review_thresholds_are_shown_where_there_is_a_calibration(self, rows, about):
        calibration = Calibration(
            (0.0, 1.0), (0.1, 0.9), "isotonic", 30, "val", (Threshold(0.6, 0.9, 0.4, 0.5),)
        )
        page = render(rows, assessed(rows, about, calibration=calibration), fill(rows))
        # predicted 0.5 becomes 0.5: all four pass, two of them are good enough
        assert "<td>0.60</td><td>90%</td><td>0.400</td><td>50%</td><td>100%</td>" in page
