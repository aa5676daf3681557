"""The page's server: what it answers, and to whom."""

import io
import json
import socket

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from samtune.masks import mask_to_runs
from samtune.page.server import build_app, listen

HOST, PORT, TOKEN = "127.0.0.1", 8123, "t0ken"
HERE = f"http://{HOST}:{PORT}"


@pytest.fixture
def session(open_it):
    return open_it()


@pytest.fixture
def client(session):
    app = build_app(session, TOKEN, HOST, PORT)
    return TestClient(app, HERE, raise_server_exceptions=False)


@pytest.fixture
def get(client):
    return lambda path, **more: client.get(f"/{TOKEN}{path}", **more)


@pytest.fixture
def post(client):
    return lambda path, body, **more: client.post(f"/{TOKEN}{path}", json=body, **more)


def test_a_click_is_answered_and_the_mask_kept(get, post, session):
    told = get("/api/session").json()
    assert told["contestants"] == ["base", "tuned"]
    assert [each["name"] for each in told["images"]] == ["p0", "p1", "p2"]
    image = post("/api/images/1/act", {"do": "click", "x": 40, "y": 30, "inside": True}).json()
    assert image["clicks"] == [[40, 30, True]]
    asked = post("/api/images/1/ask", {"number": image["number"]}).json()
    assert asked["number"] == image["number"]
    assert set(asked["offers"]) == {"base", "tuned"}
    best = asked["offers"]["tuned"]["candidates"][asked["offers"]["tuned"]["best"]]
    made = session.answer(1).offers["tuned"]
    assert best["mask"]["runs"] == mask_to_runs(made.candidates[made.best].mask.part)
    accepted = post(
        "/api/images/1/act", {"do": "accept", "number": image["number"], "name": "cell"}
    )
    (kept,) = accepted.json()["objects"]
    assert (kept["number"], kept["name"], kept["by"]) == (1, "cell", "tuned")
    assert kept["mask"] == best["mask"]
    cutout = np.asarray(Image.open(io.BytesIO(get("/api/images/1/objects/1.png").content)))
    assert cutout.shape == (kept["mask"]["height"], kept["mask"]["width"], 4)
    number = accepted.json()["objectsNumber"]
    again = post(f"/api/images/1/act?known={number}", {"do": "click", "x": 4, "y": 3})
    assert "objects" not in again.json()


def test_an_overtaken_question_is_stale(post):
    first = post("/api/images/0/act", {"do": "click", "x": 40, "y": 30}).json()["number"]
    post("/api/images/0/act", {"do": "undo"})
    asked = post("/api/images/0/ask", {"number": first}).json()
    assert asked == {"number": first, "isStale": True}


def test_the_picture_is_what_the_model_sees(get, session):
    pixels = np.asarray(Image.open(io.BytesIO(get("/api/images/0/picture.png").content)))
    assert np.array_equal(pixels, session.sample(0).image)


def test_the_page_is_there(get, client):
    page = get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name, kind in (("main.js", "javascript"), ("style.css", "css"), ("icon.svg", "svg")):
        assert kind in get(f"/{name}").headers["content-type"]
    moved = client.get(f"/{TOKEN}", follow_redirects=False)
    assert moved.headers["location"] == f"/{TOKEN}/"


@pytest.mark.parametrize("path", ["/", "/api/session", "/wrong/api/session", "/t0ke/", "//", ""])
def test_without_the_token_there_is_nothing(client, path):
    assert client.get(path).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"https://{HOST}:{PORT}"},
        {"origin": f"http://{HOST}:{PORT + 1}"},
        {"host": "evil.example"},
        {"host": f"evil.example:{PORT}"},
        {"host": HOST},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_pages_are_refused(get, post, session, headers):
    assert get("/api/session", headers=headers).status_code == 403
    click = {"do": "click", "x": 4, "y": 3}
    assert post("/api/images/0/act", click, headers=headers).status_code == 403
    assert session.state(0).is_empty


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_this_machine_has_several_names(get, host):
    name = f"{host}:{PORT}"
    found = get("/api/session", headers={"host": name, "origin": f"http://{name}"})
    assert found.status_code == 200


def test_an_open_host_takes_addresses_and_no_names(session):
    app = build_app(session, TOKEN, "0.0.0.0", PORT)  # noqa: S104
    client = TestClient(app, f"http://192.168.1.5:{PORT}")
    assert client.get(f"/{TOKEN}/api/session").status_code == 200
    evil = {"host": f"evil.example:{PORT}"}
    assert client.get(f"/{TOKEN}/api/session", headers=evil).status_code == 403


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd", "/..%2f..%2f..%2fetc%2fpasswd", "/%2e%2e/server.py",
        "/server.py", "/static/main.js", "/api/images/0/../../session.json",
        "/api/images/-1", "/api/images/99999999999999999999", "/api/images/x/picture.png",
        "/api/images/0/objects/../../../../../etc/passwd", "/main.js%00.png",
    ],
)  # fmt: skip
def test_no_other_file_can_be_read(get, path):
    found = get(path)
    assert found.status_code in (400, 403, 404)
    assert "root:" not in found.text


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'{"do": "click"}', b'{"do": "format the disk"}',
        b'{"do": "click", "x": "a", "y": 1}', b'{"do": "click", "x": 1e999, "y": 1}',
        b'{"do": "click", "x": NaN, "y": 1}', b'{"do": "click", "x": 1, "y": 1, "z": 1}',
        b'{"do": "box", "corners": [1, 2, 3]}', b'{"do": "box", "corners": [1, 2, 3, 1e9]}',
        b'{"do": "click", "x": -4, "y": 1}', b'{"do": "accept", "number": 0}',
        b'{"do": "accept", "number": 0, "by": "nobody"}', b'{"do": "edit", "object": 3}',
        b'{"do": "mark", "status": "lost"}', b"\xff\xfe\x00", b"[" * 100_000,
        b'{"do": "mend", "mask": {"top": 0, "left": 0, "height": 9999999, "width": 9, "runs": [9]}}',
        b'{"do": "mend", "mask": {"top": 0, "left": 0, "height": 2, "width": 2, "runs": [9999999999]}}',
        b'{"do": "mend", "mask": {"top": 0, "left": 0, "height": 2, "width": 2, "runs": [-4, 8]}}',
        b'{"do": "mend", "mask": {"top": -1, "left": 0, "height": 2, "width": 2, "runs": [4]}}',
    ],
)  # fmt: skip
def test_a_bad_request_is_told_and_ends_nothing(client, get, session, body):
    found = client.post(f"/{TOKEN}/api/images/0/act", content=body)
    assert found.status_code == 400
    assert found.json()["error"]
    assert session.state(0).is_empty
    assert get("/api/session").status_code == 200


def test_long_bodies_are_refused(client, get):
    found = client.post(f"/{TOKEN}/api/images/0/act", content=b" " * (9 * 2**20))
    assert found.status_code == 413

    def parts():
        for _ in range(9):
            yield b" " * 2**20

    found = client.post(f"/{TOKEN}/api/images/0/act", content=parts())
    assert found.status_code == 413
    assert get("/api/session").status_code == 200


def test_what_nobody_thought_of_ends_nothing(client, get, session, monkeypatch, caplog):
    monkeypatch.setattr(session, "answer", lambda *a: 1 / 0)
    found = client.post(f"/{TOKEN}/api/images/0/ask", json={"number": 0})
    assert found.status_code == 500
    assert "ZeroDivisionError" in found.json()["error"]
    assert get("/api/session").status_code == 200


def test_names_stay_text(post, get, pictures, open_it):
    name = "<img src=x onerror=alert(1)>\"'&.png"
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(pictures / name, "PNG")
    hostile = open_it()
    app = build_app(hostile, TOKEN, HOST, PORT)
    client = TestClient(app, HERE)
    told = client.get(f"/{TOKEN}/api/session")
    assert told.headers["content-type"] == "application/json"
    assert name.removesuffix(".png") in [each["name"] for each in told.json()["images"]]
    found = client.post(f"/{TOKEN}/api/classes", json={"name": "</script><b>"})
    assert found.json()["classes"] == ["object", "</script><b>"]
    assert client.post(f"/{TOKEN}/api/classes", json={"name": "a" * 300}).status_code == 400


def test_the_front_end_never_makes_html_of_text():
    from importlib.resources import files

    for file in (files("samtune.page") / "static").iterdir():
        text = file.read_text().replace("made.documentElement.outerHTML", "")  # of our own page
        for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
            assert word not in text, (file.name, word)


def test_a_free_port_is_found_and_a_taken_one_told():
    from samtune.errors import UserError

    with listen(HOST, 0) as first:
        port = first.getsockname()[1]
        assert port > 0
        assert first.proto == socket.IPPROTO_TCP  # small answers are sent at once
        with pytest.raises(UserError, match=f"port {port}"):
            listen(HOST, port)
    with pytest.raises(UserError, match="cannot listen on"):
        listen("no.such.host.invalid", 0)


def test_marks_and_held_out_images(post, get, square, session):
    session.mend(0, square)
    session.accept(0)
    assert post("/api/images/0/act", {"do": "mark", "status": "done"}).json()["status"] == "done"
    assert post("/api/images/0/act", {"do": "hold", "out": True}).json()["isHeldOut"] is True
    told = json.loads(get("/api/session").text)
    assert told["progress"] == {"untouched": 2, "in work": 0, "done": 1}
