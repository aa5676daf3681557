"""The picture of the page in the README: a click on an image, answered by base and tuned side by side.

    python scripts/page_picture.py RUN IMAGES --image NAME --click X Y [--out docs/page.png]

Needs playwright (`pip install playwright`) and a chromium. RUN and IMAGES are those of `samtune open`.
docs/experiments.md says of what the picture in docs/ is.
"""

import argparse
import shutil
import tempfile
import threading
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

import samtune
from samtune.page.rounds import Start, Tuning
from samtune.page.server import build_server, listen
from samtune.page.session import Session

_TOKEN = "picture"  # noqa: S105
_WIDTH, _HEIGHT = 1366, 900
_ROUND_SECONDS = 60  # that the button names


def main() -> None:
    parser = argparse.ArgumentParser("scripts/page_picture.py", description=__doc__)
    parser.add_argument("run")
    parser.add_argument("images", nargs="*", help="default: the held-out images of the run")
    parser.add_argument("--image", required=True, help="its name, as the list of the page has it")
    parser.add_argument("--click", required=True, nargs=2, type=float, help="pixels of the image")
    parser.add_argument("--out", type=Path, default=Path("docs/page.png"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept"
        session = samtune.open(options.run, options.images, out=kept).session
        tuning = Tuning(kept, Start(options.run), _ROUND_SECONDS, lambda _: None)
        index = [work.image_id for work in session.works].index(options.image)
        while session.work_ahead():  # so that the list shows doubts
            pass
        listening = listen("127.0.0.1", 0)
        server = build_server(session, listening, _TOKEN, tuning)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            address = f"http://127.0.0.1:{listening.getsockname()[1]}/{_TOKEN}/"
            _take(address, session, index, tuple(options.click), options.out)
        finally:
            server.should_exit = True
            thread.join()


def _take(address: str, session: Session, index: int, click: tuple[float, ...], out: Path) -> None:
    """Open an image on the page, click, and keep what is seen."""
    browser_path = shutil.which("chromium") or shutil.which("chrome")
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT}, color_scheme="light")
        session.current = index
        page.goto(address)
        page.locator("#image-name", has_text=session.works[index].image_id).wait_for()
        page.mouse.click(*_on_screen(page, session.hw(index), click))
        page.locator(".pane.tuned .fact").first.wait_for()
        page.locator("body:not(.waiting)").wait_for()
        page.mouse.move(0, 0)
        page.wait_for_timeout(500)
        page.screenshot(path=out)
        browser.close()


def _on_screen(page: Page, hw: tuple[int, int], click: tuple[float, ...]) -> tuple[float, float]:
    """Where a pixel of an image that is shown whole lies on the screen."""
    room = page.locator(".pane.tuned .overlay").bounding_box()
    if room is None:
        raise RuntimeError("the pane of the tuned model is not shown")
    scale = min(room["width"] / hw[1], room["height"] / hw[0])
    left = room["x"] + (room["width"] - hw[1] * scale) / 2
    top = room["y"] + (room["height"] - hw[0] * scale) / 2
    return left + (click[0] + 0.5) * scale, top + (click[1] + 0.5) * scale


if __name__ == "__main__":
    main()
