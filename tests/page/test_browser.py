"""The page in a browser: what a person does on it, with the command behind it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from samtune.inference.predictor import SamPredictor
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.masks import rle_to_mask
from tests.conftest import draw_discs

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium to open the page in")


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    opened = context.new_page()
    errors = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


def begin(run, pictures, out):
    """The command, and the address that it prints."""
    command = [sys.executable, "-m", "samtune.cli", "open", run, pictures, "--out", out]
    running = subprocess.Popen(
        [*map(str, command), "--no-browser", "--focus", "off"],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return running, running.stdout.readline().strip()


def place_of(page, x, y, pane="tuned"):
    """Where a pixel of the image (90 x 120, fitted) is on the screen."""
    room = page.locator(f".pane.{pane} .overlay").bounding_box()
    scale = min(room["width"] / 120, room["height"] / 90)
    left = room["x"] + (room["width"] - 120 * scale) / 2
    top = room["y"] + (room["height"] - 90 * scale) / 2
    return left + (x + 0.5) * scale, top + (y + 0.5) * scale


def answered(page):
    page.locator("body:not(.waiting)").wait_for()
    page.locator(".pane.tuned .fact").first.wait_for()


def test_a_person_opens_clicks_compares_accepts_and_loses_nothing(
    page, tuned_run, tuned, pictures, tmp_path, open_it
):
    out = tmp_path / "kept"
    running, address = begin(tuned_run, pictures, out)
    try:
        page.goto(address)
        page.locator("#image-name", has_text="p0").wait_for()
        page.mouse.click(*place_of(page, 40, 30))
        answered(page)
        assert page.locator("#candidates button").count() == 3
        assert page.locator(".pane.base .fact").count() == 1
        (clicked,) = json.loads((out / "session.json").read_text())["prompts"]["p0"]["clicks"]
        assert clicked[:2] == pytest.approx([40, 30], abs=0.51)
        page.keyboard.press("1")
        # one more, taken back
        page.mouse.click(*place_of(page, 80, 60, "base"), button="right")
        page.locator("#candidates").wait_for(state="hidden")
        page.keyboard.press("z")
        page.locator("#candidates").wait_for()
        answered(page)
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        page.locator("#objects .number", has_text="1").wait_for()
        page.locator("#images button", has_text="p1").click()
        page.locator("#image-name", has_text="p1").wait_for()
        start, end = place_of(page, 20, 15), place_of(page, 70, 55)
        page.mouse.move(*start)
        page.mouse.down()
        page.mouse.move(*end, steps=4)
        page.mouse.up()
        answered(page)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    content = json.loads((out / "train.json").read_text())
    (kept,) = content["annotations"]
    predictor = SamPredictor(tuned)
    session = open_it(focus="off")
    predictor.set_image(session.sample(0).image)
    masks = predictor.predict(np.array([clicked[:2]]), np.array([1]))[0]
    assert np.array_equal(rle_to_mask(kept["segmentation"]), masks[2])
    assert_it_comes_back(page, session, masks[2])


def assert_it_comes_back(page, session, mask):
    assert np.array_equal(session.masks_of(0)[1], mask)
    with serving(session) as address:
        page.goto(address)
        page.locator("#objects .number", has_text="1").wait_for()
        page.locator("#images button", has_text="p1").click()
        page.locator("#image-name", has_text="p1").wait_for()
        answered(page)  # the box that was drawn before the end
        assert session.state(1).box == pytest.approx([20, 15, 70, 55], abs=1.01)


@contextmanager
def serving(session):
    """The address of the page of a session that is open here."""
    from samtune.page.server import build_server, listen

    listening = listen("127.0.0.1", 0)
    server = build_server(session, listening, "here")
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/here/"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def served(page, open_it):
    """A session whose page is open."""
    session = open_it(focus="off")
    with serving(session) as address:
        page.goto(address)
        page.locator("#image-name", has_text="p0").wait_for()
        yield session


def test_a_polygon_adds_to_the_mask_and_takes_away_from_it(page, served):
    expected = np.zeros((90, 120), np.bool_)

    def corners(*places):
        for x, y in places:  # at the corner of a pixel: half a pixel before its middle
            page.mouse.click(*place_of(page, x - 0.5, y - 0.5))

    def mended():
        page.locator("#take-away").wait_for(state="hidden")
        page.locator("#accept:not([disabled])", has_text="Accept").wait_for()
        return served.state(0).hand.whole((90, 120))

    page.keyboard.press("l")
    corners((10, 10), (50, 10), (50, 40), (90, 80))
    page.keyboard.press("z")  # the last corner, which comes back, and goes again
    page.keyboard.press("Shift+Z")
    page.keyboard.press("z")
    corners((10, 40))
    page.keyboard.press("Enter")
    expected[10:40, 10:50] = True
    assert np.array_equal(mended(), expected)
    corners((20, 20), (30, 20), (30, 30))
    x, y = place_of(page, 19.5, 29.5)
    page.keyboard.down("Alt")
    page.mouse.dblclick(x, y)
    page.keyboard.up("Alt")
    expected[20:30, 20:30] = False
    mended()
    page.keyboard.press("Enter")
    page.locator("#objects .number", has_text="1").wait_for()
    assert np.array_equal(served.masks_of(0)[1], expected)
    assert served.state(0).objects[0].by == "hand"


def test_a_polygon_is_drawn_by_keys_alone_and_dropped(page, served):
    page.locator(".pane.tuned .overlay").focus()
    page.keyboard.press("l")
    for key in ("ArrowLeft", "ArrowDown", "ArrowRight"):
        page.keyboard.press(f"Shift+{key}")
        page.keyboard.press(".")
    page.locator("#take-away").wait_for()
    page.keyboard.press("Escape")
    page.locator("#take-away").wait_for(state="hidden")
    assert served.state(0).is_empty
    for key in ("ArrowUp", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(f"Shift+{key}")
        page.keyboard.press(".")
    page.keyboard.press("Enter")
    page.locator("#accept:not([disabled])", has_text="Accept").wait_for()
    assert served.state(0).hand.area > 0


def test_a_click_in_one_plane_of_a_volume_shows_that_place_in_the_others(page, tuned, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    from samtune.page.images import open_images
    from samtune.page.session import Session

    voxels = np.random.default_rng(0).integers(0, 255, (40, 30, 12)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1, 1, 2.5, 1])), tmp_path / "v.nii.gz")
    found = open_images([tmp_path / "v.nii.gz"], tuned.reading)
    session = Session(tuned, True, found, tmp_path / "kept")
    with serving(session) as address:
        page.goto(address)
        page.locator("#image-name", has_text="axial0006").wait_for()
        sagittal, coronal = (page.locator(".pane.plane").nth(n) for n in range(2))
        sagittal.locator(".fact", has_text="21 of 40").wait_for()
        # 30 x 12 pixels of 1 x 2.5 mm: 30 x 30 in the middle of the room
        room = sagittal.locator(".overlay").bounding_box()
        scale = min(room["width"], room["height"]) / 30
        left = room["x"] + (room["width"] - 30 * scale) / 2
        top = room["y"] + (room["height"] - 30 * scale) / 2
        # the third column from the front (voxel 27), the second row from the head (slice 10)
        page.mouse.click(left + 2.5 * scale, top + 2.5 * 1.5 * scale)
        page.locator("#image-name", has_text="axial0010").wait_for()
        coronal.locator(".fact", has_text="28 of 30").wait_for()
        # what is clicked on in the axial slice is asked, and shown in the others
        page.locator(".pane.tuned .overlay").click()
        answered(page)
        coronal.locator(".fact", has_text="28 of 30").wait_for(state="detached")
        assert len(session.state(10).clicks) == 1


def test_the_map_of_a_scene_leads_to_the_window_beside(page, tuned, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("pyogrio")
    from samtune.page.images import open_images
    from samtune.page.session import Session

    pixels = np.random.default_rng(0).integers(0, 255, (3, 1000, 1500), dtype=np.uint8)
    with rasterio.open(
        tmp_path / "s.tif", "w", driver="GTiff", height=1000, width=1500, count=3, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.transform.from_origin(600000, 5000000, 0.5, 0.5),
    ) as file:  # fmt: skip
        file.write(pixels)
    found = open_images([tmp_path / "s.tif"], tuned.reading)
    session = Session(tuned, True, found, tmp_path / "kept", "off")
    with serving(session) as address:
        page.goto(address)
        page.locator("#image-name", has_text="s@0,0").wait_for()
        session.mend(0, PlacedMask(100, 600, np.ones((20, 30), np.bool_)))
        session.accept(0, "roof")
        # the map is as wide as the scene: three quarters to the right lies the second window
        room = page.locator("#scene-map").bounding_box()
        page.mouse.click(room["x"] + 0.75 * room["width"], room["y"] + 0.5 * room["height"])
        page.locator("#image-name", has_text="s@476,0").wait_for()
        page.locator(".pane.tuned .overlay").hover(position={"x": 5, "y": 5})
        # the object of the first window is seen there, and is none of the second
        assert page.locator("#objects .number").count() == 0
        assert [each.mask.left for each in session.objects_beside(1)] == [600 - 476]


@pytest.mark.slow
def test_a_round_is_tuned_from_the_page_and_is_known_after_kill(page, pictures, open_it, tmp_path):
    session, out = open_it(), tmp_path / "kept"
    for number in range(3):
        labels = draw_discs((90, 120), 3, number)[1]
        for value in np.unique(labels)[1:]:
            session.mend(number, PlacedMask.of(labels == value))
            session.accept(number, "cell")
    for is_first in (True, False):
        running, address = begin("nano", pictures, out)
        try:
            page.goto(address)
            if is_first:
                page.locator("#tune").click()
                page.locator("#stop-tuning").wait_for()
            page.locator("#round-said", has_text="Round 1 is").wait_for(timeout=400_000)
            assert page.locator("#curve circle").count() == 2
        finally:
            running.send_signal(signal.SIGKILL)
            running.wait()


NOTEBOOK = """
<div id="cell"></div>
<script type="module">
  const listeners = [];
  const model = {
    get: (name) => window.widgetState[name],
    on: (_, does) => listeners.push(does),
    off: () => {},
    send: async (message) => {
      const { told, bytes } = await window.kernel(message);
      const buffer = Uint8Array.from(bytes).buffer;
      for (const does of listeners) does(told, [new DataView(buffer)]);
    },
  };
  window.widgetState = await window.widget();
  const code = new Blob([window.widgetState.code], { type: "text/javascript" });
  const { default: made } = await import(URL.createObjectURL(code));
  made.render({ model, el: document.getElementById("cell") });
</script>
"""


def test_the_widget_of_a_notebook_is_clicked_on(page, open_it):
    pytest.importorskip("anywidget")
    from samtune.page.widget import PageWidget

    session = open_it(focus="off")
    hostile = "<img src=x onerror=alert(1)>"
    session.add_class(hostile)
    page.on("dialog", lambda dialog: pytest.fail("a name became code"))
    shown, sent = PageWidget(session, height=600), []
    shown.send = lambda told, buffers: sent.append({"told": told, "bytes": list(buffers[0])})

    def kernel(message):
        thread = threading.Thread(target=shown._asked, args=(shown, message, []))
        thread.start()
        thread.join()
        return sent.pop()

    page.expose_function("kernel", kernel)
    state = {"files": dict(shown.files), "height": 600, "code": str(shown._esm)}
    page.expose_function("widget", lambda: state)
    page.route(
        "http://notebook.test/",
        lambda route: route.fulfill(body=NOTEBOOK, content_type="text/html"),
    )
    page.goto("http://notebook.test/")
    frame = page.frame_locator("iframe")
    frame.locator("#image-name", has_text="p0").wait_for()
    frame.locator(".pane.tuned .overlay").click()
    frame.locator(".pane.tuned .fact").first.wait_for()
    frame.locator("body:not(.waiting)").wait_for()
    frame.locator("#accept").click()
    frame.locator("#objects .number", has_text="1").wait_for()
    assert list(session.masks_of(0)) == [1]
    assert frame.locator("#classes .name", has_text=hostile).count() == 1
    assert frame.locator("img").count() == 0


def test_the_static_files_are_those_of_the_package():
    import samtune.page

    folder = Path(samtune.page.__file__).parent / "static"
    assert {"index.html", "main.js", "style.css"} <= {file.name for file in folder.iterdir()}


def test_keys_mean_what_lies_under_the_pointer(page, served, square):
    served.mend(0, square)
    served.accept(0)
    served.mend(0, PlacedMask(50, 60, np.ones((20, 20), np.bool_)))
    served.accept(0)
    page.locator("#images button", has_text="p1").click()
    page.locator("#image-name", has_text="p1").wait_for()
    page.locator("#images button", has_text="p0").click()
    page.locator("#objects .number", has_text="2").wait_for()
    page.mouse.move(*place_of(page, 110, 80))
    page.keyboard.press("Delete")
    page.locator("#message", has_text="no object under the pointer").wait_for()
    page.mouse.move(*place_of(page, 22, 11))
    page.keyboard.press("Delete")
    page.locator("#objects .number", has_text="1").wait_for(state="detached")
    assert [each.number for each in served.state(0).objects] == [2]
    page.mouse.move(*place_of(page, 65, 55))
    page.keyboard.press("t")
    page.locator("#accept", has_text="Replace").wait_for()
    assert served.state(0).replaces == 2
