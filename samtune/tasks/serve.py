"""`serve`: a model for the labelling tools that people use already."""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.errors import UserError, require
from samtune.inference.settings import Focus
from samtune.ranges import Count
from samtune.reading import Reading
from samtune.tasks.arguments import task
from samtune.tasks.open import Port
from samtune.tasks.opening import open_model
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run
from samtune.tasks.settings import Layer, reading_of, require_reading

if TYPE_CHECKING:
    from samtune.page.tools.asked import Asked
    from samtune.page.tools.pictures import Pictures

log = logging.getLogger(__name__)
# What the environment may say: an address that stays the same, and an account of Label Studio's
TOKEN, KEY = "SAMTUNE_TOKEN", "LABEL_STUDIO_API_KEY"
_GOOD_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}")
# Where each tool asks, under the address
_TOOLS = {"Label Studio": "", "X-AnyLabeling": "", "CVAT (serverless)": "/cvat"}


@dataclass(frozen=True)
class Served(Result):
    """A model that labelling tools ask; `serve` answers them until it is interrupted.

    Attributes:
        asked: the network.
        pictures: images that may be read.
        token: with which the address begins.
        host, port: to listen on.
        everything: Label Studio's tasks without a click are answered with all that is found.
    """

    asked: Asked
    pictures: Pictures
    token: str
    host: str = "127.0.0.1"
    port: int = 0
    everything: bool = False

    @property
    def headline(self) -> str:
        return f"{self.asked.name} was served to labelling tools"

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {
            "tools": [
                {"tool": name, "address": f"/{self.token}{at}"} for name, at in _TOOLS.items()
            ]
        }

    def serve(self) -> None:
        """Answer until it is interrupted.

        Raises:
            UserError: the port is taken.
        """
        from samtune.page.guard import is_loopback, name_of
        from samtune.page.server import listen
        from samtune.page.tools.app import build_tools_server

        listening = listen(self.host, self.port)
        address = f"http://{name_of(self.host)}:{listening.getsockname()[1]}/{self.token}"
        if not is_loopback(self.host):
            log.warning(
                "the model can be asked from other machines, by whoever has its address, and what is "
                "sent is not encrypted: leave out --host unless the network is yours"
            )
        for name, at in _TOOLS.items():
            log.info("%s: %s%s", name, address, at)
        server = build_tools_server(
            self.asked, self.pictures, listening, self.token, self.everything
        )
        server.run(sockets=[listening])


@task
def serve(
    model: str | Path | Run,
    *,
    images: Sequence[str | Path] = (),
    label_studio: str = "",
    everything: bool = False,
    focus: Focus = "auto",
    reading: Layer | Reading | None = None,
    host: str = "127.0.0.1",
    port: Port = 9090,
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
) -> Served:
    """Answer the clicks of Label Studio, X-AnyLabeling and CVAT with a model, while they are open.

    The command prints an address for each tool; Ctrl-C ends it. The address begins with a token, a new
    one each time, unless the environment variable SAMTUNE_TOKEN has one. Masks are those of `predict`.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        images: folders whose images Label Studio's tasks may name, by path or as local files.
        label_studio: address of Label Studio, such as http://localhost:8080, whose images may be
            downloaded; the environment variable LABEL_STUDIO_API_KEY has the key of an account there.
        everything: answer Label Studio's tasks in which nobody has clicked with all that is found.
        focus: `auto` looks at small objects in a window around them; `off` never does.
        reading: of the pixels, where it is to be otherwise than in training.
        host: address to listen on; others than this machine's own can be reached from elsewhere.
        port: to listen on; 0 takes a free one.
        checkpoint: official weights for a registry name.
        image_size: of a base model; 0: its own.
        device: cpu, cuda, cuda:1, mps, auto.

    Raises:
        UserError: a folder does not exist, or an address is none.
    """
    require("uvicorn", "page")
    from samtune.page.tools.asked import Asked
    from samtune.page.tools.downloads import LabelStudioHost
    from samtune.page.tools.pictures import Pictures

    require_reading(reading, ("bands", "stretch", "value_range", "window", "tile"))
    token, key = _token(), os.environ.get(KEY, "")
    server = LabelStudioHost(label_studio, key) if label_studio else None
    sam = open_model(model, checkpoint, image_size, device)
    sam.reading = reading_of(sam, reading)
    pictures = Pictures(sam.reading, [Path(folder) for folder in images], server)
    asked = Asked(sam, Path(model).resolve().name, focus)
    return Served(asked, pictures, token, host, port, everything)


def _token() -> str:
    """That of the environment, or a new one.

    Raises:
        UserError: it can be guessed, or does not fit into an address.
    """
    token = os.environ.get(TOKEN, "")
    if token and not _GOOD_TOKEN.fullmatch(token):
        raise UserError(f"{TOKEN} is to be 16 to 200 letters, digits, dashes or underscores")
    return token or secrets.token_urlsafe(16)
