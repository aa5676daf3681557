"""CVAT: the function that its agent runs, and what serverless functions are asked."""

import base64
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

pytest.importorskip("starlette")
from starlette.testclient import TestClient

from samtune.errors import UserError
from samtune.inference.predictor import SamPredictor
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.page.tools.app import build_tools_app
from samtune.page.tools.asked import Asked
from samtune.page.tools.cvat import points_of
from samtune.page.tools.pictures import Pictures
from samtune.tasks.cvat_function import create

HW = (90, 120)


def decoded(points, hw=HW):
    """What CVAT makes of a mask's points, by its description: runs of 0 and 1 in turn, then the box."""
    *runs, x0, y0, x1, y1 = map(int, points)
    flat = np.concatenate([np.full(run, place % 2, bool) for place, run in enumerate(runs)])
    mask = np.zeros(hw, bool)
    mask[y0 : y1 + 1, x0 : x1 + 1] = flat.reshape(y1 + 1 - y0, x1 + 1 - x0)
    return mask


@settings(max_examples=60, deadline=None)
@given(mask=arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 12))).filter(np.any))
def test_points_are_the_mask(mask):
    np.testing.assert_array_equal(decoded(points_of(PlacedMask.of(mask)), mask.shape), mask)


@pytest.fixture
def image(pictures):
    return Image.open(pictures / "p1.png")


@pytest.fixture
def predicted(tuned, image):
    """The mask of points 40,30 inside and 60,20 outside and a box, all in pixels."""
    predictor = SamPredictor(tuned, focus="auto")
    predictor.set_image(np.asarray(image))
    masks, scores, _ = predictor.predict(
        np.array([[40, 30], [60, 20]]), np.array([1, 0]), np.array([30, 20, 70, 50]),
        multimask_output=False,
    )  # fmt: skip
    return masks[0], float(scores[0])


ASKED = {
    "pos_points": [[40.5, 30.5]], "neg_points": [[60.5, 20.5]], "obj_bbox": [[30, 20], [71, 51]]
}  # fmt: skip


@pytest.fixture
def sdk(monkeypatch):
    """What stands for cvat-sdk: classes that keep what they are given."""

    def kept(**values):
        return SimpleNamespace(**values)

    home, functions, models = (
        ModuleType(n) for n in ("cvat_sdk", "cvat_sdk.auto_annotation", "cvat_sdk.models")
    )
    functions.InteractionFunctionSpec = functions.InteractionResultShape = kept
    functions.DetectionFunctionSpec = models.AttributeValRequest = kept
    functions.InteractionResultAttributes = SimpleNamespace(CONFIDENCE=0)
    functions.label_spec = lambda name, number: (name, number)
    functions.mask = lambda label, points: ("mask", label, points)
    functions.polygon = lambda label, points: ("polygon", label, points)
    home.auto_annotation, home.models = functions, models
    for module in (home, functions, models):
        monkeypatch.setitem(sys.modules, module.__name__, module)


def test_the_agent_s_function_answers_clicks(sdk, tuned_run, image, predicted):
    function = create(str(tuned_run), device="cpu")
    assert vars(function.spec) == {
        "min_pos_points": 0, "min_neg_points": 0, "min_bounding_boxes": 0
    }  # fmt: skip
    (box,) = [ASKED["obj_bbox"]]
    prompts = SimpleNamespace(
        pos_points=ASKED["pos_points"], neg_points=ASKED["neg_points"], bounding_box=box
    )
    (shape,) = function.detect(None, image, prompts)
    assert shape.type == "mask"
    mask, score = predicted
    np.testing.assert_array_equal(decoded(shape.points), mask)
    (told,) = shape.attributes
    assert told.spec_id == 0
    assert float(told.value) == pytest.approx(min(1, max(0, score)), abs=1e-4)
    with pytest.raises(UserError, match="neither a click nor a box"):
        function.detect(
            None, image, SimpleNamespace(pos_points=[], neg_points=[], bounding_box=None)
        )


def test_the_agent_s_function_finds_everything(sdk, tuned_run, image):
    function = create(str(tuned_run), "everything", "nucleus", device="cpu")
    assert function.spec.labels == [("nucleus", 0)]
    all_of_it = SimpleNamespace(conf_threshold=None, conv_mask_to_poly=False)
    found = function.detect(all_of_it, image)
    assert found
    assert all(kind == "mask" and label == 0 for kind, label, _ in found)
    polygons = function.detect(SimpleNamespace(conf_threshold=0, conv_mask_to_poly=True), image)
    assert len(polygons) >= len(found)
    assert {kind for kind, _, _ in polygons} == {"polygon"}
    assert (
        function.detect(SimpleNamespace(conf_threshold=1.1, conv_mask_to_poly=False), image) == []
    )
    with pytest.raises(UserError, match="everything"):
        create(str(tuned_run), "nothing", device="cpu")


def test_without_the_package_it_says_so(tuned_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "cvat_sdk", None)
    with pytest.raises(UserError, match=r"samtune\[cvat\]"):
        create(str(tuned_run), device="cpu")


def test_a_serverless_function_is_answered(tuned, pictures, predicted):
    here = "http://127.0.0.1:8123/t0ken"
    app = build_tools_app(Asked(tuned, "mine"), Pictures(tuned.reading), "t0ken", "127.0.0.1", 8123)
    client = TestClient(app, here, raise_server_exceptions=False)
    sent = base64.b64encode((pictures / "p1.png").read_bytes()).decode()
    reply = client.post(f"{here}/cvat", json={"image": sent, **ASKED})
    mask = np.array(reply.json()["mask"])
    assert set(np.unique(mask)) <= {0, 255}
    np.testing.assert_array_equal(mask > 0, predicted[0])
    for change, says in (
        ({"obj_bbox": [[1, 2]]}, "1 corners"),
        ({"pos_points": [[1, 2, 3]]}, "cannot be understood"),
        ({"pos_points": [], "neg_points": [], "obj_bbox": []}, "neither a click nor a box"),
        ({"pos_points": [[-3, 2]]}, "outside"),
    ):
        reply = client.post(f"{here}/cvat", json={"image": sent, **ASKED} | change)
        assert (reply.status_code, says in reply.json()["error"]) == (400, True)
