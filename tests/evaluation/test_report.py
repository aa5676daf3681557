"""Files of an evaluation: results.json, objects.csv, one self-contained page, a picture."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from samtune.evaluation.compare import Answer
from samtune.evaluation.gallery import Gallery
from samtune.evaluation.report import examples_picture, render, write_report
from samtune.evaluation.summary import summarise, to_csv
from samtune.types import Prompt, Sample

VOID = {"meta", "img", "rect"}


class Tags(HTMLParser):
    """Collects attributes, and text by tag; complains where tags do not match."""

    def __init__(self, page):
        super().__init__()
        self.open, self.attributes, self.text = [], [], {}
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
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
    return {"model": "runs/<script>alert(1)</script>", "seed": 3, "with_multimask": True}


def fill(rows):
    gallery = Gallery(size=4, side=24)
    truth = np.zeros((40, 40), np.bool_)
    truth[10:20, 10:30] = True
    image = np.full((40, 40, 3), 120, np.uint8)
    prompt = Prompt(np.array([[15, 15]], np.float32), np.array([1]))
    for row in rows:
        sample = Sample(row.key.image_id, image, truth[None].astype(np.int32))
        gallery.add(Answer(row, sample, truth, prompt, dict.fromkeys(row.scores, truth)))
    return gallery


@pytest.fixture
def page(rows, about):
    return render(rows, summarise(rows), fill(rows), about)


class TestFiles:
    def test_all_are_written_and_the_results_returned(self, rows, about, tmp_path):
        results = write_report(tmp_path / "evaluation", rows, fill(rows), about, seed=0)
        folder = tmp_path / "evaluation"
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["examples.png", "objects.csv", "report.html", "results.json"]
        assert json.loads((folder / "results.json").read_text()) == results
        assert (folder / "objects.csv").read_text() == to_csv(rows)

    def test_results_hold_what_other_programs_read(self, rows, about, tmp_path):
        results = write_report(tmp_path, rows, fill(rows), about, seed=0)
        assert results["format"] == 1
        assert results["about"] == about
        assert list(results["protocols"]) == ["box", "point"]
        box = results["protocols"]["box"]
        assert box["base"]["miou"] == pytest.approx(0.5)
        assert box["tuned"]["miou"] == pytest.approx(0.6)
        assert box["base"]["dice"] == pytest.approx((0.4 / 1.2 + 0.8 / 1.4 + 1.8 / 1.9) / 3)
        assert box["tuned"]["dice"] == pytest.approx((0.6 / 1.3 + 1.4 / 1.7 + 1.6 / 1.8) / 3)
        assert box["delta"]["miou"] == pytest.approx(0.1)
        low, high = box["delta"]["ci95"]
        assert (low, high) == (pytest.approx(-0.1), pytest.approx(0.2))
        assert (box["num_objects"], box["num_images"]) == (3, 2)
        assert results["protocols"]["point"]["delta"]["ci95"] is None

    def test_a_second_report_replaces_the_first(self, rows, about, tmp_path):
        write_report(tmp_path, rows, fill(rows), about, seed=0)
        write_report(tmp_path, rows[:1], fill(rows[:1]), about, seed=0)
        assert len((tmp_path / "objects.csv").read_text().splitlines()) == 2
        assert json.loads((tmp_path / "results.json").read_text())["protocols"].keys() == {"box"}

    def test_a_picture_of_an_earlier_report_does_not_stay(self, rows, about, tmp_path):
        write_report(tmp_path, rows, fill(rows), about, seed=0)
        write_report(tmp_path, rows, Gallery(), about, seed=0)
        assert not (tmp_path / "examples.png").exists()

    def test_the_picture_is_the_largest_gains_below_one_another(self, rows, about, tmp_path):
        gallery = fill(rows)
        write_report(tmp_path, rows, gallery, about, seed=0)
        picture = np.asarray(Image.open(tmp_path / "examples.png"))
        assert len(gallery.gains) == 2
        assert picture.shape == (2 * (24 + 4), 4 * 24 + 3 * 4, 3)

    def test_without_gains_the_losses_are_shown(self, make_row):
        gallery = fill([make_row("a", 0.5, 0.4)])
        assert examples_picture(gallery).shape[0] == 24 + 4
        assert examples_picture(Gallery()) is None


class TestPage:
    def test_nothing_is_loaded_from_elsewhere(self, page):
        assert "http" not in page
        assert "@import" not in page
        assert "url(" not in page
        sources = [v for _, name, v in Tags(page).attributes if name in ("src", "href", "data")]
        assert len(sources) == 3
        assert all(value.startswith("data:image/png;base64,") for value in sources)
        assert "<script" not in page
        assert "<link" not in page

    def test_names_are_escaped_wherever_they_stand(self, page):
        for name in ("<b>", "<i>", "<script>", "nucleus & co"):
            assert name not in page
        assert "&lt;b&gt;bold&lt;/b&gt;, object 2 nucleus &amp; co" in page
        assert "box: &lt;i&gt;cell&lt;/i&gt;" in page
        assert "runs/&lt;script&gt;alert(1)&lt;/script&gt;" in page

    def test_tags_match_and_the_language_and_encoding_are_said(self, page):
        attributes = Tags(page).attributes
        assert page.startswith("<!doctype html>")
        assert ("html", "lang", "en") in attributes
        assert ("meta", "charset", "utf-8") in attributes

    def test_the_verdict_of_each_protocol_stands_at_the_top(self, page):
        verdicts = Tags(page).text["li"]
        assert [text.split(":")[0] for text in verdicts] == ["box", "point"]
        assert "no difference that these images could show" in verdicts[0]
        assert page.index("<li>") < page.index("<table>") < page.index("<svg")

    def test_the_table_holds_the_numbers(self, page):
        row = re.search(r"<tr><td>box</td>.*?</tr>", page).group()
        cells = re.findall(r"<td>(.*?)</td>", row)
        assert cells == [
            "box", "0.500", "0.600", "+0.100", "-0.100 to +0.200", "0.617", "0.725",
            "2 / 0 / 1", "3", "2",
        ]  # fmt: skip

    def test_the_histogram_counts_every_object(self, page):
        charts = re.findall(r"<svg.*?</svg>", page)
        counts = [sum(map(int, re.findall(r": (\d+)</title>", chart))) for chart in charts]
        assert counts == [3, 1]

    def test_captions_tell_both_ious(self, page):
        captions = Tags(page).text["figcaption"]
        assert captions[0] == "<b>bold</b>, object 2 nucleus & co, box: IoU 0.400 to 0.700 (+0.300)"
        assert captions[-1] == "b, object 1 nucleus & co, box: IoU 0.900 to 0.800 (-0.100)"

    def test_a_base_alone_is_called_so(self, make_row):
        rows = [make_row("a", 0.25), make_row("b", 0.75)]
        page = render(rows, summarise(rows), fill(rows), {})
        assert "<title>The base alone</title>" in page
        assert "the base reaches a mIoU of 0.500" in page
        assert "tuned minus base" not in page
        Tags(page)

    def test_without_pictures_it_says_none(self, rows):
        page = render(rows, summarise(rows), Gallery(), {})
        assert page.count("<p>none</p>") == 2
        assert "<img" not in page
