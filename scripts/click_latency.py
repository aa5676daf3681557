"""How long a click takes on the page, from the request to the masks of base and tuned.

    .venv/bin/python scripts/click_latency.py [--model nano] [--threads 1] [--images 10] [--clicks 12]
        [--focus off]

Through the page's own server and a real socket, on drawn pictures, with an adapter whose weights are
random (time does not depend on them) on all blocks: nothing is shared with the base. The next images
are encoded ahead, as on the page. `first` is the mask that is shown at once, from what is encoded;
`final` is that of a closer look at a small object, which is encoded first (`--focus off` takes none).
`CPU` is the time that the first mask has of the processors: what it takes where nothing else runs.
"""

import argparse
import http.client
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samtune.data.drawn.source import DrawnPictures
from samtune.escaping import markdown_table
from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.settings import LoraSettings
from samtune.page.images import Images
from samtune.page.server import build_server, listen
from samtune.page.session import Session


def main() -> None:
    parser = argparse.ArgumentParser("scripts/click_latency.py", description=__doc__)
    parser.add_argument("--model", default="nano", help="registry name of a SAM")
    parser.add_argument("--checkpoint", default=None, help="its official weights")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--clicks", type=int, default=12, help="on each image")
    parser.add_argument("--focus", default="auto", choices=["auto", "off"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    sam = load_model(options.model, options.checkpoint)
    prepare_for_training(sam, "lora", LoraSettings())
    source = DrawnPictures("test", num_pictures=options.images, side=512)
    with tempfile.TemporaryDirectory() as folder:
        images = Images(source, True)
        session = Session(sam.eval(), True, images, Path(folder) / "kept", options.focus)
        times = _measured(session, options.clicks)
    head = ["milliseconds", "p50", "p95", "largest", "clicks"]
    lines = [
        [name, *(f"{value:.0f}" for value in np.percentile(each, [50, 95, 100])), str(len(each))]
        for name, each in times.items()
    ]
    print(f"{options.model}, {options.threads} thread(s), pictures of 512 x 512\n")
    print(markdown_table(head, lines))


def _measured(session: Session, num_clicks: int) -> dict[str, list[float]]:
    listening, token = listen("127.0.0.1", 0), "latency"
    server = build_server(session, listening, token)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    port, rng = listening.getsockname()[1], np.random.default_rng(0)
    asking = _Asking(port, token)
    times: dict[str, list[float]] = {"first": [], "first, CPU": [], "final": [], "next image": []}
    try:
        for index in range(len(session.works)):
            while session.work_ahead() and session.works[index].doubt is None:
                pass  # what a person's looking at the image before leaves time for
            asking.hang_up()  # as the server does with who says nothing for some seconds
            began = time.perf_counter()
            asking.get(f"images/{index}")
            asking.get(f"images/{index}/picture.png")
            times["next image"].append(1000 * (time.perf_counter() - began))
            for number in range(num_clicks):
                found = asking.click(index, rng.uniform(5, 507, 2), number % 4 != 3)
                for name, value in zip(("first", "first, CPU", "final"), found, strict=True):
                    times[name].append(value)
                if number % 4 == 3:
                    asking.post(f"images/{index}/act", {"do": "clear"})
    finally:
        server.should_exit = True
        thread.join()
    return times


class _Asking:
    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._prefix = f"/{token}/api/"

    def hang_up(self) -> None:
        """The next request opens a connection again."""
        self._connection.close()

    def get(self, path: str) -> bytes:
        self._connection.request("GET", self._prefix + path)
        return self._connection.getresponse().read()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        self._connection.request("POST", self._prefix + path, json.dumps(body))
        return json.loads(self._connection.getresponse().read())

    def click(self, index: int, xy: np.ndarray, is_inside: bool) -> tuple[float, float, float]:
        """Milliseconds to the first mask, its time of the processors, and to the final mask."""
        began, worked = time.perf_counter(), time.process_time()
        action = {"do": "click", "x": float(xy[0]), "y": float(xy[1]), "inside": is_inside}
        number = self.post(f"images/{index}/act?known=0", action)["number"]
        told = self.post(f"images/{index}/ask", {"number": number, "quick": True})
        first, work = time.perf_counter(), time.process_time() - worked
        if not told["isFinal"]:
            self.post(f"images/{index}/ask", {"number": number})
        return 1000 * (first - began), 1000 * work, 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
