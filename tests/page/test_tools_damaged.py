"""What labelling tools send, each part of it damaged in turn, is answered or told, and never fails."""

import base64
import copy
import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from samtune.page.tools.app import build_tools_app
from samtune.page.tools.asked import Asked
from samtune.page.tools.pictures import Pictures

HERE = "http://127.0.0.1:8123/t0ken"
CONFIG = """<View><Image name="photo" value="$picture"/>
<{0} name="answer" toName="photo"><Label value="cell"/></{0}></View>"""
DAMAGES = (
    None, True, 0, -1, 10**30, 1e300, -0.0, 0.5, "", "a", "\0", "ä\U0001f600", "<script>", "../" * 99,
    "1" * 5000, [], [[]], [None], [1], {}, {"a": {}}, {"x": 1}, [{"x": []}], "NaN",
)  # fmt: skip


def picture():
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def region(kind, **value):
    return {
        "id": "a", "type": kind, "value": value | {kind: ["cell"]}, "to_name": "photo",
        "original_width": 32, "original_height": 24, "image_rotation": 0, "is_positive": True,
        "item_index": None,
    }  # fmt: skip


def questions():
    sent = picture()
    marks = [{"type": "point", "data": [4, 5], "label": 1},
             {"type": "rectangle", "data": [2, 2, 9, 9], "label": 1}]  # fmt: skip
    for tag in ("BrushLabels", "PolygonLabels", "RectangleLabels"):
        regions = [
            region("keypointlabels", x=20, y=30, width=1),
            region("rectanglelabels", x=10, y=10, width=30, height=30, rotation=3),
        ]
        yield "/predict", {
            "tasks": [{"id": 1, "data": {"picture": f"data:image/png;base64,{sent}"}}],
            "label_config": CONFIG.format(tag), "params": {"context": {"result": regions}},
        }  # fmt: skip
    yield "/v1/predict", {"model": "mine", "image": sent, "params": {"marks": marks}}
    yield "/cvat", {"image": sent, "pos_points": [[4, 5]], "neg_points": [[9, 9]],
                    "obj_bbox": [[2, 2], [20, 20]]}  # fmt: skip
    yield "/setup", {"project": "1.2", "schema": "<View/>"}
    yield "/webhook", {"action": "START_TRAINING", "project": {"id": 1}}


def places(value, at=()):
    """Where something lies in a question."""
    yield at
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, each in inner:
        yield from places(each, (*at, key))


def damaged(question, at, value):
    if not at:
        return value
    changed = copy.deepcopy(question)
    inner = changed
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    return changed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "question"), list(questions()), ids=lambda each: str(each)[:12].replace("/", "")
)
def test_a_damaged_question_is_answered_or_told(tuned, path, question):
    app = build_tools_app(
        Asked(tuned, "mine", "off"), Pictures(tuned.reading), "t0ken", "127.0.0.1", 8123
    )
    client = TestClient(app, HERE, raise_server_exceptions=False)
    good = client.post(f"{HERE}{path}", json=question)
    assert good.status_code == 200, good.text
    for at in places(question):
        for value in DAMAGES:
            reply = client.post(f"{HERE}{path}", json=damaged(question, at, value))
            assert reply.status_code in (200, 400), (at, value, reply.text)
            if reply.status_code == 400:
                assert json.loads(reply.text)["error"], (at, value)
