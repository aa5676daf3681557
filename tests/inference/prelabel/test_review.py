"""The queue for review: its order, its reasons, what is accepted."""

import csv
import io

import numpy as np
import pytest

from samtune.inference.prelabel.labelling import Prelabel
from samtune.inference.prelabel.review import choose_threshold, review_csv, review_row
from samtune.masks import mask_to_rle
from samtune.models.calibration import Calibration, Threshold

FULL, EMPTY = mask_to_rle(np.ones((4, 5), np.bool_)), mask_to_rle(np.zeros((1, 1), np.bool_))


def row(
    number, score, area=20, agreement=0.9, box_iou=0.9, has_object=True, accept_from=0.8, rle=FULL,
    image="a.png", category="cell", certainty=None,
):  # fmt: skip
    label = Prelabel(
        number, 1, None, score, rle, [0, 0], [0, 0, 3, 3], [], agreement, 1.0, box_iou, has_object,
        certainty=certainty,
    )  # fmt: skip
    return review_row(image, label, area, category, accept_from)


def test_no_mask_comes_first_then_the_least_trusted():
    rows = [row(1, 0.9), row(2, 0.4), row(3, 0.95, area=0), row(4, 0.9, box_iou=0.05), row(5, 0.3)]
    assert [each.object for each in sorted(rows, key=lambda r: r.order)] == [3, 4, 5, 2, 1]


def test_without_a_box_the_score_alone_is_trusted():
    assert row(1, 0.7, box_iou=None).trust == 0.7
    assert row(1, 0.7, box_iou=0.25).trust == pytest.approx(0.35)


def test_a_mask_whose_pixels_are_not_sure_comes_before_one_whose_are():
    sure, unsure = row(1, 0.7, certainty=0.9), row(2, 0.8, certainty=0.5)
    assert unsure.trust == pytest.approx(0.8 * 0.5 * 0.9**0.5)
    assert sorted([sure, unsure], key=lambda each: each.order) == [unsure, sure]
    # but the score alone decides what is accepted
    assert unsure.decision == "accept"
    (first,) = csv.DictReader(io.StringIO(review_csv([unsure])))
    assert first["certainty"] == "0.500000"


@pytest.mark.parametrize(
    ("change", "decision"),
    [
        ({}, "accept"),
        ({"area": 0, "rle": EMPTY}, "review"),
        ({"area": 0}, "review"),
        ({"area": 15}, "review"),
        ({"score": 0.95, "box_iou": 0.05, "has_object": False}, "review"),
        ({"score": 0.95, "agreement": 0.4}, "review"),
        ({"score": 0.79}, "review"),
        ({"accept_from": None}, "review"),
    ],
)
def test_what_is_accepted(change, decision):
    assert row(1, **({"score": 0.8} | change)).decision == decision


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({}, ""),
        ({"area": 0, "box_iou": 0.0, "rle": EMPTY}, "no mask"),
        ({"area": 0, "box_iou": 0.0}, "wholly under others"),
        ({"area": 16}, ""),
        ({"area": 15}, "partly under others"),
        ({"agreement": 0.4}, "masks disagree"),
        ({"agreement": None, "box_iou": None}, ""),
        ({"box_iou": 0.4, "has_object": False}, "no object found; does not fit its box"),
    ],
)
def test_reasons(change, reasons):
    assert row(1, 0.9, **change).reasons == reasons


def test_the_table_has_a_rank_and_a_column_for_each_measure():
    text = review_csv([row(7, 0.25), row(8, 0.5, agreement=None)])
    first, second = csv.DictReader(io.StringIO(text))
    assert (first["rank"], first["object"], first["score"]) == ("1", "7", "0.250000")
    assert (second["agreement"], second["box_iou"], second["detection_score"]) == (
        "",
        "0.900000",
        "",
    )


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_names_are_no_formulas_of_a_spreadsheet(begin):
    name = f'{begin}HYPERLINK("http://x";"y")'
    (read,) = csv.DictReader(
        io.StringIO(review_csv([row(1, -0.5, image=name, category=name)]), newline="")
    )
    assert (read["image"], read["category"]) == (f"'{name}", f"'{name}")
    assert read["score"] == "-0.500000"


def test_the_threshold_that_was_asked():
    known = Threshold(0.8, 0.9, 0.7, 0.5)
    calibration = Calibration((0.0, 1.0), (0.0, 1.0), "isotonic", 300, "val", (known,))
    assert choose_threshold(calibration, 0.8, 0.9) == known
    assert choose_threshold(calibration, 0.8, 0.95) is None
    assert choose_threshold(None, 0.8, 0.9) is None
