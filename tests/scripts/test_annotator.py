"""The script that labels without hands: clicks by the rule, lines that are kept, and its tables."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.models.loading import load_model
from samtune.page.answering import Candidate, Offer
from samtune.page.images import open_images
from samtune.page.session import Answers, Session
from samtune.reading import Reading
from samtune.types import Sample
from tests.conftest import draw_discs


@pytest.fixture(scope="module")
def annotator(load_script):
    return load_script("annotator")


@pytest.fixture
def session(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        image, _ = draw_discs((64, 64), 3, number)
        Image.fromarray(image).save(tmp_path / "pictures" / f"{number:03d}.png")
    images = open_images([tmp_path / "pictures"], Reading())
    return Session(load_model("nano"), False, images, tmp_path / "kept")


@pytest.fixture
def truth():
    mask = np.zeros((64, 64), bool)
    mask[10:30, 20:40] = True
    return mask


def answering(session, monkeypatch, *masks):
    """Let the model answer with these, one after the other."""
    waiting = list(masks)

    def answer(index, number=None, strength=1.0, is_quick=False):
        mask = waiting[0] if len(waiting) == 1 else waiting.pop(0)
        offer = Offer([Candidate(PlacedMask.of(mask), 0.9)], 0)
        return Answers(session.works[index].history.number, strength, {"base": offer})

    monkeypatch.setattr(session, "answer", answer)


def test_it_clicks_where_the_mask_is_wrong_until_it_is_good(annotator, session, truth, monkeypatch):
    half = truth.copy()
    half[:, 30:] = False
    clicks, click = [], session.click
    monkeypatch.setattr(
        session, "click", lambda index, *how: clicks.append(how) or click(index, *how)
    )
    answering(session, monkeypatch, half, truth)
    rng = np.random.default_rng(0)
    assert annotator.label_object(session, 0, truth, rng) == (2, False)
    (first, second), half_x = clicks, 30
    assert truth[int(first[1]), int(first[0])]
    assert second[0] >= half_x
    assert second[2] is True
    np.testing.assert_array_equal(session.masks_of(0)[1], truth)


def test_what_clicks_do_not_find_is_drawn(annotator, session, truth, monkeypatch):
    answering(session, monkeypatch, np.eye(64, dtype=bool))
    number, is_drawn = annotator.label_object(session, 0, truth, np.random.default_rng(0))
    assert (number, is_drawn) == (annotator.MOST_CLICKS + annotator.BY_HAND, True)
    (made,) = session.state(0).objects
    assert made.by == "hand"
    np.testing.assert_array_equal(session.masks_of(0)[1], truth)


def test_the_queue_s_next_image_is_the_most_doubtful_that_is_not_done(annotator, session):
    rng = np.random.default_rng(0)
    first = annotator.next_image(session, "queue", rng)
    doubts = [work.doubt for work in session.works]
    assert None not in doubts
    assert first == int(np.argmax(doubts))
    session.set_status(first, "done")
    seen = {annotator.next_image(session, "random", rng) for _ in range(40)}
    assert seen == set(range(4)) - {first}


def test_a_good_model_measures_well(annotator):
    image, labels = draw_discs((64, 64), 3, 0)
    sample = Sample("a", image, labels[None].astype(np.int32))
    assert len(annotator.truths_of(sample, 2, 0)) == 2
    boxes, clicks = annotator.measured(load_model("nano"), [sample], 5)
    assert boxes > 0.6
    assert clicks > 0.4


def test_lines_are_kept_and_what_was_interrupted_is_done_again(annotator, tmp_path):
    def point(order, seed, images, clicks, trained, is_last):
        return annotator.Point(
            "discs", order, seed, images, clicks, 0, False, (0.7, 0.5), (0.7, trained), is_last
        )

    points = [
        point("queue", 0, 0, 0, 0.5, False), point("queue", 0, 4, 10, 0.6, True),
        point("random", 0, 0, 0, 0.5, False), point("random", 0, 4, 20, 0.52, True),
    ]  # fmt: skip
    begun = point("queue", 1, 0, 0, 0.5, False)
    file = tmp_path / "lines.jsonl"
    assert annotator.read_points(file) == []
    file.write_text("".join(json.dumps(asdict(each)) + "\n" for each in [*points, begun]))
    assert annotator.read_points(file) == points
    rows = annotator.table(points, [0.05]).splitlines()[2:]
    assert rows == [
        "| discs | 0.500 + 0.05 | queue | 1 of 1 | 10 | 4.0 |",
        "| discs | 0.500 + 0.05 | random | 0 of 1 |  |  |",
    ]
    line = (
        "| discs | queue | 4 | 1 | 10 | 0.0 | 0.700 ± 0.000 | 0.600 ± 0.000 | 0.700 / 0.500 | 0 |"
    )
    assert line in annotator.curves(points)
