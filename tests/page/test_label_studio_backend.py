"""Label Studio's ML backend: what it asks is answered with regions that are the predictor's masks."""

import base64
import io
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from samtune.data.annotation_shapes import fill
from samtune.data.brush_code import decode_brush
from samtune.inference.predictor import SamPredictor
from samtune.page.tools.app import build_tools_app
from samtune.page.tools.asked import Asked
from samtune.page.tools.downloads import LabelStudioHost
from samtune.page.tools.pictures import Pictures

HOST, PORT, TOKEN = "127.0.0.1", 8123, "t0ken"
HERE = f"http://{HOST}:{PORT}/{TOKEN}"
HW = (90, 120)
CONFIG = """<View><Image name="photo" value="$picture"/>
<{0} name="answer" toName="photo"><Label value="cell"/><Label value="n&lt;b&gt;"/></{0}>
<KeyPointLabels name="click" toName="photo" smart="true"><Label value="cell"/></KeyPointLabels>
<RectangleLabels name="box" toName="photo" smart="true"><Label value="cell"/></RectangleLabels>
</View>"""


@pytest.fixture
def client(tuned, pictures):
    return lambda host=None, **more: TestClient(
        build_tools_app(
            Asked(tuned, "mine"), Pictures(tuned.reading, [pictures], host), TOKEN, HOST, PORT, **more
        ),
        HERE, raise_server_exceptions=False,
    )  # fmt: skip


@pytest.fixture
def post(client):
    app = client()
    return lambda path, body, **more: app.post(f"{HERE}{path}", json=body, **more)


@pytest.fixture
def image(pictures):
    return np.asarray(Image.open(pictures / "p1.png"))


@pytest.fixture
def predicted(tuned, image):
    """The mask and score of the predictor, where one thing is clicked on as `samtune predict` is."""

    def best(**prompt):
        predictor = SamPredictor(tuned, focus="auto")
        predictor.set_image(image)
        masks, scores, _ = predictor.predict(**prompt)
        return masks[scores.argmax()], float(scores.max())

    return best


def click(x, y, label="cell", **more):
    """The middle of the pixel in row y and column x."""
    value = {"x": 100 * (x + 0.5) / HW[1], "y": 100 * (y + 0.5) / HW[0], "keypointlabels": [label]}
    return _region("keypointlabels", value | {"width": 0.3}, "click") | {"is_positive": 1} | more


def box(x0, y0, x1, y1, **more):
    """The edges of pixels x0 to x1 and y0 to y1, both inside."""
    value = {
        "x": 100 * x0 / HW[1], "y": 100 * y0 / HW[0], "width": 100 * (x1 + 1 - x0) / HW[1],
        "height": 100 * (y1 + 1 - y0) / HW[0], "rotation": 0, "rectanglelabels": ["cell"],
    }  # fmt: skip
    return _region("rectanglelabels", value, "box") | more


def _region(kind, value, name):
    return {
        "id": "a", "type": kind, "value": value, "from_name": name, "to_name": "photo",
        "original_width": HW[1], "original_height": HW[0], "image_rotation": 0,
    }  # fmt: skip


def ask(*regions, picture="p1.png", tag="BrushLabels", config=None):
    return {
        "tasks": [{"id": 7, "data": {"picture": picture}}], "project": "1.17",
        "label_config": config or CONFIG.format(tag), "model_version": "x",
        "params": {"login": None, "password": None, "context": {"result": list(regions)}},
    }  # fmt: skip


def regions(reply):
    assert reply.status_code == 200, reply.text
    (prediction,) = reply.json()["results"]
    return prediction["result"]


def test_setup_health_and_events(post, client):
    assert client().get(f"{HERE}/health").json()["status"] == "UP"
    asked = {"project": "1.17", "schema": CONFIG.format("BrushLabels"), "hostname": "http://x",
             "access_token": "secret", "extra_params": None}  # fmt: skip
    assert post("/setup", asked).json() == {"model_version": "mine"}
    assert (
        post("/webhook", {"action": "ANNOTATION_CREATED", "project": {"id": 1}}).status_code == 200
    )


def test_a_brush_is_the_mask_of_the_predictor_to_the_pixel(post, predicted):
    (found,) = regions(post("/predict", ask(click(40, 30))))
    mask, score = predicted(point_coords=np.array([[40, 30]]), point_labels=np.array([1]))
    np.testing.assert_array_equal(decode_brush(found["value"]["rle"], HW), mask)
    assert mask.any()
    assert found["score"] == pytest.approx(min(1, max(0, score)), abs=1e-5)
    assert (found["from_name"], found["to_name"]) == ("answer", "photo")
    assert (found["original_width"], found["original_height"]) == (HW[1], HW[0])
    assert found["type"] == "brushlabels"
    assert found["value"]["brushlabels"] == ["cell"]
    assert found["value"]["format"] == "rle"


def test_clicks_and_a_box_are_one_prompt(post, predicted):
    asked = ask(click(40, 30), click(60, 20, is_positive=False), box(30, 20, 70, 50))
    (found,) = regions(post("/predict", asked))
    mask, _ = predicted(
        point_coords=np.array([[40, 30], [60, 20]]), point_labels=np.array([1, 0]),
        box=np.array([30, 20, 70, 50]), multimask_output=False,
    )  # fmt: skip
    np.testing.assert_array_equal(decode_brush(found["value"]["rle"], HW), mask)


def test_clicks_on_other_pages_are_of_other_objects(post):
    config = CONFIG.format("BrushLabels").replace('value="$picture"', 'valueList="$picture"')
    pages = {"picture": ["p0.png", "p1.png"], "config": config}
    alone = ask(click(40, 30, item_index=1), **pages)
    other = ask(click(9, 9, item_index=0), click(40, 30, item_index=1), **pages)
    values = [[e["value"] for e in regions(post("/predict", each))] for each in (alone, other)]
    assert values[0] == values[1]


def test_a_turned_box_is_what_holds_it(post):
    straight = regions(post("/predict", ask(box(30, 20, 69, 39))))
    # turned by a quarter about its first corner, which is the top right one then
    turned = box(70, 20, 89, 59) | {}
    turned["value"] |= {"rotation": 90}
    assert [each["value"]["rle"] for each in regions(post("/predict", ask(turned)))] == [
        each["value"]["rle"] for each in straight
    ]


def test_polygons_cover_the_mask_and_the_rectangle_is_around_it(post, predicted):
    mask, _ = predicted(box=np.array([30, 20, 70, 50]))
    share = np.array([HW[1], HW[0]]) / 100
    covered = np.zeros(HW, bool)
    for each in regions(post("/predict", ask(box(30, 20, 70, 50), tag="PolygonLabels"))):
        assert each["type"] == "polygonlabels"
        assert each["value"]["closed"] is True
        covered |= fill(np.array(each["value"]["points"]) * share, HW, "")
    np.testing.assert_array_equal(covered, mask)
    only = CONFIG.format("RectangleLabels")
    (found,) = regions(post("/predict", ask(box(30, 20, 70, 50), config=only)))
    value, (rows, columns) = found["value"], np.nonzero(mask)
    edges = [value["x"] * HW[1] / 100, value["y"] * HW[0] / 100]
    edges += [edges[0] + value["width"] * HW[1] / 100, edges[1] + value["height"] * HW[0] / 100]
    want = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert edges == pytest.approx(want)


def test_tags_without_labels_and_pages_are_answered(post):
    config = """<View><Image name="photo" valueList="$picture"/><Brush name="b" toName="x, photo"/>
    <KeyPoint name="k" toName="photo" smart="true"/></View>"""
    clicked = click(40, 30) | {"type": "keypoint", "item_index": 1}
    (found,) = regions(
        post("/predict", ask(clicked, picture=["nowhere.png", "p1.png"], config=config))
    )
    assert (found["type"], found["item_index"]) == ("brush", 1)
    assert set(found["value"]) == {"format", "rle"}


def test_nobody_has_clicked(post, client, tuned):
    asked = ask() | {"params": {}}
    assert post("/predict", asked).json() == {"results": []}
    config = """<View><Image name="photo" value="$picture"/>
    <PolygonLabels name="p" toName="photo"><Label value="cell"/></PolygonLabels></View>"""
    reply = client(finds_everything=True).post(
        f"{HERE}/predict", json=asked | {"label_config": config}
    )
    found = regions(reply)
    assert found
    assert {each["value"]["polygonlabels"][0] for each in found} == {"cell"}


def as_uri(image, kind="png"):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def test_an_image_is_named_in_several_ways(post, pictures, image):
    (pictures / "sub folder").mkdir()
    Image.fromarray(image).save(pictures / "sub folder" / "größe.png")
    want = [each["value"] for each in regions(post("/predict", ask(click(40, 30))))]
    for name in (
        str(pictures / "p1.png"), "/p1.png", as_uri(image), "/data/local-files/?d=p1.png",
        f"/data/local-files/?d={pictures}/p1.png", "sub folder/größe.png",
        "/data/local-files/?d=sub%20folder/gr%C3%B6%C3%9Fe.png",
    ):  # fmt: skip
        reply = post("/predict", ask(click(40, 30), picture=name))
        assert [each["value"] for each in regions(reply)] == want, name


def test_what_may_not_be_read_is_not(post, pictures, tmp_path):
    Image.new("RGB", (120, 90)).save(tmp_path / "secret.png")
    (pictures / "link.png").symlink_to(tmp_path / "secret.png")
    for name in (
        "../secret.png", str(tmp_path / "secret.png"), "link.png", "/etc/passwd",
        "/data/local-files/?d=../secret.png", "/data/local-files/?d=%2e%2e/secret.png",
        "/data/local-files/?d=/etc/passwd", "file:///etc/passwd", f"file://{tmp_path}/secret.png",
        "http://127.0.0.1:1/a.png", "//127.0.0.1:1/a.png", "s3://bucket/a.png", "/data/upload/1/a.png",
        "p1.png\0", "a" * 5000, "\n", "", "<b>.png", "C:\\a.png",
    ):  # fmt: skip
        reply = post("/predict", ask(click(40, 30), picture=name))
        assert reply.status_code == 400, name
        assert "may be read" in reply.json()["error"], name


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tasks": []}, "one task"),
        ({"label_config": "<View>"}, "cannot be read"),
        ({"label_config": '<!DOCTYPE x [<!ENTITY a "b">]><View/>'}, "document type"),
        ({"label_config": None}, "no BrushLabels"),
        ({"tasks": [{"data": {"picture": 3}}]}, "no image under 'picture'"),
        ({"tasks": [{"data": {}}]}, "no image under 'picture'"),
        ({"tasks": [{"data": {"picture": "data:image/png;base64,AAAA"}}]}, "no image that can be"),
        ({"tasks": [{"data": {"picture": "data:image/png;base64,??"}}]}, "no base64"),
        ({"tasks": 3}, "cannot be understood"),
    ],
)
def test_a_mistaken_question_is_told(post, change, says):
    reply = post("/predict", ask(click(40, 30)) | change)
    assert reply.status_code == 400
    assert says in reply.json()["error"]


@pytest.mark.parametrize(
    ("region", "says"),
    [
        (click(40, 30, label="ghost<script>"), "ghost<script>"),
        (click(40, 30, type="labels"), "'labels' says nothing"),
        (click(400, 30), "outside the image"),
        (click(40, 30, original_width=121), "121x90 pixels, but the image is 120x90"),
        (click(40, 30, image_rotation=90), "turned"),
        (click(40, 30, type="ellipselabels"), "'ellipselabels' says nothing"),
        (click(40, 30) | {"value": {"x": "a", "y": 3, "keypointlabels": ["cell"]}}, "damaged"),
        (click(40, 30) | {"value": {"keypointlabels": ["cell"]}}, "damaged"),
        (box(30, 20, 70, 50) | {"value": {"x": 1e999, "y": 0, "width": 1, "height": 1}}, ""),
        (box(300, 20, 370, 50), "outside the image"),
        (click(40, 30, to_name="other"), "other"),
    ],
)  # fmt: skip
def test_a_mistaken_click_is_told(post, region, says):
    try:
        reply = post("/predict", ask(region))
    except ValueError:  # no JSON says infinity
        return
    assert reply.status_code == 400
    assert says in reply.json()["error"]


def test_one_bad_request_ends_nothing(post, client):
    app = client()
    for body in (b"", b"{", b"\xff", b"[]", b"[" * 100_000, b'{"tasks": [{"data": 3}]}'):
        assert app.post(f"{HERE}/predict", content=body).status_code == 400
    assert (
        app.post(f"{HERE}/predict", content=b"", headers={"content-length": "9" * 30}).status_code
        == 413
    )
    assert app.get(f"{HERE}/predict").status_code == 405
    assert app.get(f"{HERE}/../../etc/passwd").status_code in (403, 404)
    assert regions(post("/predict", ask(click(40, 30))))


def test_only_programs_that_know_the_address_are_answered(client):
    app = client()
    assert app.get(f"http://{HOST}:{PORT}/health").status_code == 403
    assert app.get(f"http://{HOST}:{PORT}/wrong/health").status_code == 403
    for origin in ("https://evil.example", "null", f"http://{HOST}:{PORT}"):
        assert app.get(f"{HERE}/health", headers={"origin": origin}).status_code == 403
    assert app.get(f"{HERE}/health", headers={"host": f"evil.example:{PORT}"}).status_code == 403
    assert app.get(f"{HERE}/health", headers={"sec-fetch-site": "cross-site"}).status_code == 403


def test_a_container_may_call_it_by_its_own_name_for_this_machine(tuned):
    app = TestClient(
        build_tools_app(
            Asked(tuned, "mine"), Pictures(tuned.reading), TOKEN, "0.0.0.0", PORT  # noqa: S104
        ),
        HERE, raise_server_exceptions=False,
    )  # fmt: skip
    name = {"host": f"host.docker.internal:{PORT}"}
    assert app.get(f"{HERE}/health", headers=name).status_code == 200
    assert app.get(f"http://{HOST}:{PORT}/wrong/health", headers=name).status_code == 403
    assert app.get(f"{HERE}/health", headers=name | {"origin": "null"}).status_code == 403


class _Server(BaseHTTPRequestHandler):
    """What stands for Label Studio's server."""

    def __init__(self, files, seen, *arguments):
        self.files, self.seen = files, seen
        super().__init__(*arguments)

    def do_GET(self):
        self.seen.append((self.path, self.headers.get("Authorization")))
        found = self.files.get(self.path)
        if isinstance(found, str):
            self.send_response(302)
            self.send_header("Location", found)
            self.end_headers()
        else:
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(found or b"")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"access": "short"}')

    def log_message(self, *arguments):
        pass


@pytest.fixture
def label_studio(pictures):
    """A server, the files that it has by path, and what it was asked for."""
    files, seen = {"/data/upload/1/a.png": (pictures / "p1.png").read_bytes()}, []
    server = HTTPServer(("127.0.0.1", 0), partial(_Server, files, seen))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", files, seen
    server.shutdown()
    server.server_close()


def test_an_upload_is_downloaded_from_the_server_that_was_named(client, label_studio):
    address, files, seen = label_studio
    app = client(LabelStudioHost(address, "key"))
    for name in ("/data/upload/1/a.png", f"{address}/data/upload/1/a.png"):
        asked = ask(click(40, 30), picture=name)
        assert regions(app.post(f"{HERE}/predict", json=asked))
    assert seen == [("/data/upload/1/a.png", "Token key")] * 2
    files["/moved"] = "/data/upload/1/a.png"
    asked = ask(click(40, 30), picture="/moved")
    assert regions(app.post(f"{HERE}/predict", json=asked))
    personal = LabelStudioHost(address, "a.b.c")
    assert personal.get("/data/upload/1/a.png")
    assert seen[-1] == ("/data/upload/1/a.png", "Bearer short")


def test_no_other_server_is_asked(client, label_studio):
    address, files, _ = label_studio
    app = client(LabelStudioHost(address, "key"))
    files["/away"] = "http://127.0.0.2:9/a.png"
    for name, says in (("/away", "another server"), ("/gone.png", "404"),
                       ("http://127.0.0.1:9/a.png", "may be read")):  # fmt: skip
        reply = app.post(f"{HERE}/predict", json=ask(click(40, 30), picture=name))
        assert reply.status_code == 400
        assert says in reply.json()["error"]
    with pytest.raises(ValueError, match="no address"):
        LabelStudioHost("localhost:8080")
