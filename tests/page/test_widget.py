"""The page in a notebook: the kernel's side of the widget, and its front end in a browser."""

import json

import numpy as np
import pytest

from samtune.masks import mask_to_runs

widget = pytest.importorskip("samtune.page.widget")


@pytest.fixture
def session(open_it):
    return open_it()


@pytest.fixture
def ask(session):
    """Asks as the front end does; returns status, kind and body."""
    found = []
    shown = widget.PageWidget(session)
    shown.send = lambda told, buffers: found.append((told, buffers[0]))

    def asked(path, body=None):
        message = {"number": 7, "path": path, "body": None if body is None else json.dumps(body)}
        shown._asked(shown, message, [])
        told, content = found.pop()
        assert told["number"] == 7
        return told["status"], told["kind"], content

    return asked


def test_a_click_is_answered_in_the_kernel(ask, session):
    status, kind, body = ask("api/images/0/act?known=-1", {"do": "click", "x": 40, "y": 30})
    assert (status, kind) == (200, "application/json")
    number = json.loads(body)["number"]
    told = json.loads(ask("api/images/0/ask", {"number": number})[2])
    made = session.answer(0).offers["tuned"].candidates
    runs = [each["mask"]["runs"] for each in told["offers"]["tuned"]["candidates"]]
    assert runs == [mask_to_runs(each.mask.part) for each in made]


def test_pictures_come_as_bytes_and_mistakes_are_told(ask):
    status, kind, body = ask("api/images/0/picture.png")
    assert (status, kind, body[:4]) == (200, "image/png", b"\x89PNG")
    status, _, body = ask("api/images/0/act", {"do": "click", "x": -9, "y": 3})
    assert status == 400
    assert "lies outside" in json.loads(body)["error"]


def test_the_front_end_is_that_of_the_page(session):
    shown = widget.PageWidget(session, height=500)
    assert shown.height == 500
    assert {"main.js", "style.css", "index.html", "transport.js"} <= shown.files.keys()
    assert "window.parent" in shown.files["transport.js"]
    assert 'from "./' not in "".join(shown.files.values())


def test_what_is_opened_shows_itself(tuned_run, pictures, tmp_path):
    import samtune

    opened = samtune.open(tuned_run, pictures, out=tmp_path / "kept")
    told = opened._repr_mimebundle_()
    content = told[0] if isinstance(told, tuple) else told
    assert "application/vnd.jupyter.widget-view+json" in content
    opened.session.click(0, 40, 30)
    opened.session.accept(0, "cell")
    (masks,) = opened.masks.values()
    assert masks[1].shape == (90, 120)
    assert masks[1].dtype == np.bool_
    assert opened.tables["objects"][0]["class"] == "cell"
