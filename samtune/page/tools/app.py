"""The server that labelling tools ask: each has its own addresses, all ask one network.

GET  /health            Label Studio: whether it is there
POST /setup, /predict   Label Studio
POST /webhook           Label Studio: what was annotated; training is a command of its own
GET  /v1/models         X-AnyLabeling
POST /v1/predict        X-AnyLabeling
POST /cvat              a serverless function of CVAT
"""

import logging
import socket

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from samtune.page.guard import Guard
from samtune.page.replies import HANDLERS, plain, read_message, told
from samtune.page.tools import cvat, label_studio, x_anylabeling
from samtune.page.tools.asked import Asked
from samtune.page.tools.pictures import Pictures

log = logging.getLogger(__name__)
# Of a request's body: tools send whole images along, by a third longer as text
_MOST_BYTES = 96 * 2**20
# Requests that are answered, or wait for it, at one time
_MOST_AT_ONCE = 32


class _Event(msgspec.Struct):
    """What Label Studio tells at /webhook."""

    action: str = ""


class _Setup(msgspec.Struct):
    """What Label Studio says of a project at /setup; where its images lie is said by the user alone."""


class _Tools:
    """What is answered at each address."""

    def __init__(self, asked: Asked, pictures: Pictures, finds_everything: bool) -> None:
        self._label_studio = label_studio.LabelStudio(asked, pictures, finds_everything)
        self._x_anylabeling = x_anylabeling.XAnyLabeling(asked)
        self._cvat = cvat.Interactor(asked)

    async def health(self, request: Request) -> Response:
        return await plain(lambda: {"status": "UP", "model_class": "samtune"})

    async def setup(self, request: Request) -> Response:
        await read_message(request, _Setup)
        return await plain(lambda: self._label_studio.version)

    async def predict(self, request: Request) -> Response:
        question = await read_message(request, label_studio.Question)
        return await plain(self._label_studio.predict, question)

    async def webhook(self, request: Request) -> Response:
        event = await read_message(request, _Event)
        if event.action == "START_TRAINING":
            log.warning("Label Studio asks to train: export the annotations, and run samtune fit")
        return await plain(lambda: {"status": "ok", "result": "samtune fit trains, on an export"})

    async def models(self, request: Request) -> Response:
        return await plain(self._x_anylabeling.models)

    async def predict_marks(self, request: Request) -> Response:
        question = await read_message(request, x_anylabeling.Question)
        return await plain(self._x_anylabeling.predict, question)

    async def interact(self, request: Request) -> Response:
        question = await read_message(request, cvat.Question)
        return await plain(self._cvat.answer, question)


def build_tools_app(
    asked: Asked, pictures: Pictures, token: str, host: str, port: int,
    finds_everything: bool = False,
) -> Guard:  # fmt: skip
    """What answers labelling tools, and no page of a browser.

    Args:
        asked: the network.
        pictures: that may be read.
        token: with which every address begins.
        host, port: that it listens on.
        finds_everything: Label Studio's tasks without a click are answered with all that is found.
    """
    tools = _Tools(asked, pictures, finds_everything)
    routes = [
        Route("/", told(tools.health)),
        Route("/health", told(tools.health)),
        Route("/setup", told(tools.setup), methods=["POST"]),
        Route("/predict", told(tools.predict), methods=["POST"]),
        Route("/webhook", told(tools.webhook), methods=["POST"]),
        Route("/v1/models", told(tools.models)),
        Route("/v1/predict", told(tools.predict_marks), methods=["POST"]),
        Route("/cvat", told(tools.interact), methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    return Guard(app, token, host, port, _MOST_BYTES, is_for_programs=True)


def build_tools_server(
    asked: Asked, pictures: Pictures, listening: socket.socket, token: str,
    finds_everything: bool = False,
) -> uvicorn.Server:  # fmt: skip
    """A server of `build_tools_app`, to be run with the socket from `samtune.page.server.listen`."""
    host, port = listening.getsockname()[:2]
    app = build_tools_app(asked, pictures, token, host, port, finds_everything)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", ws="none",
        limit_concurrency=_MOST_AT_ONCE,
    )  # fmt: skip
    return uvicorn.Server(config)
