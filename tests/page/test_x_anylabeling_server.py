"""X-AnyLabeling's remote server: what the tool sends is answered with the predictor's masks."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from samtune.data.annotation_shapes import fill
from samtune.inference.predictor import SamPredictor
from samtune.page.tools.app import build_tools_app
from samtune.page.tools.asked import Asked
from samtune.page.tools.pictures import Pictures

HERE = "http://127.0.0.1:8123/t0ken"
HW = (90, 120)


@pytest.fixture
def client(tuned):
    app = build_tools_app(Asked(tuned, "mine"), Pictures(tuned.reading), "t0ken", "127.0.0.1", 8123)
    return TestClient(app, HERE, raise_server_exceptions=False)


@pytest.fixture
def image(pictures):
    return np.asarray(Image.open(pictures / "p1.png"))


@pytest.fixture
def sent(image):
    """An image as the tool sends it: whatever its kind is, by its file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.fixture
def ask(client, sent):
    def asked(*marks, **more):
        body = {
            "model": "mine", "image": f"data:image/png;base64,{sent}",
            "params": {"conf_threshold": 0.0, "epsilon_factor": 0.001, "marks": list(marks)},
        }  # fmt: skip
        return client.post(f"{HERE}/v1/predict", json=body | more)

    return asked


def covered(shapes):
    mask = np.zeros(HW, bool)
    for each in shapes:
        assert each["label"] == "AUTOLABEL_OBJECT"
        assert each["shape_type"] == "polygon"
        assert each["points"][0] == each["points"][-1]
        mask |= fill(np.array(each["points"][:-1]), HW, "")
    return mask


def test_the_model_is_offered(client):
    told = client.get(f"{HERE}/v1/models").json()
    assert told["success"] is True
    assert list(told["data"]) == ["mine"]
    assert {"name": "button_add_rect", "value": None} in told["data"]["mine"]["widgets"]


def test_polygons_cover_the_predictor_s_mask(ask, tuned, image, client, sent):
    reply = ask({"type": "point", "data": [40, 30], "label": 1})
    data = reply.json()["data"]
    predictor = SamPredictor(tuned, focus="auto")
    predictor.set_image(image)
    masks, scores, _ = predictor.predict(np.array([[40, 30]]), np.array([1]))
    np.testing.assert_array_equal(covered(data["shapes"]), masks[scores.argmax()])
    assert data["replace"] is False
    two = ask(
        {"type": "point", "data": [40, 30], "label": 1},
        {"type": "point", "data": [60, 20], "label": 0},
        {"type": "rectangle", "data": [70, 50, 30, 20]},
        image=sent,
    )
    masks, _, _ = predictor.predict(
        np.array([[40, 30], [60, 20]]), np.array([1, 0]), np.array([30, 20, 70, 50]),
        multimask_output=False,
    )  # fmt: skip
    np.testing.assert_array_equal(covered(two.json()["data"]["shapes"]), masks[0])


def test_several_boxes_are_several_objects(ask):
    first, second = (
        {"type": "rectangle", "data": data} for data in ([30, 20, 70, 50], [10, 40, 40, 80])
    )
    apart = [ask(each).json()["data"]["shapes"] for each in (first, second)]
    assert ask(first, second).json()["data"]["shapes"] == [*apart[0], *apart[1]]
    assert ask().json()["data"]["shapes"] == []
    # a point is of the box that it lies in, and of no other
    point = {"type": "point", "data": [60, 25], "label": 0}
    with_point = ask(first, point).json()["data"]["shapes"]
    assert with_point != apart[0]
    assert ask(first, second, point).json()["data"]["shapes"] == [*with_point, *apart[1]]


@pytest.mark.parametrize(
    ("mark", "more", "says"),
    [
        ({"type": "point", "data": [40]}, {}, "1 numbers"),
        ({"type": "rectangle", "data": [1, 2, 3, 4], "label": 0}, {}, "label 0"),
        ({"type": "auto_grid"}, {}, "cannot be understood"),
        ({"type": "point", "data": [400, 30]}, {}, "outside the image"),
        ({"type": "point", "data": [1e300, 30]}, {}, "outside the image"),
        ({"type": "point", "data": [40, 30]}, {"model": "other"}, "no model 'other'"),
        ({"type": "point", "data": [40, 30]}, {"image": "AAAA"}, "no image"),
        ({"type": "point", "data": [40, 30]}, {"image": "/etc/passwd"}, "base64"),
    ],
)
def test_mistakes_are_told(ask, mark, more, says):
    reply = ask(mark, **more)
    assert reply.status_code == 400
    assert says in reply.json()["error"]
