"""The page's server: a session over HTTP, on this machine."""

import logging
import socket
import threading
import webbrowser
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from samtune.drawing import to_png
from samtune.errors import UserError
from samtune.page.actions import Action, act
from samtune.page.guard import Guard
from samtune.page.replies import HANDLERS, plain, read_message, told
from samtune.page.rounds import Tuning
from samtune.page.samples import quick_png
from samtune.page.session import Session
from samtune.page.told import tell_answers, tell_image, tell_plane, tell_session

log = logging.getLogger(__name__)
# Seconds between looks whether there is something to do ahead.
_PAUSE = 0.2
# Seconds without a question after which images are looked at for doubt: a click would wait for that.
_QUIET = 2.0
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


class _Question(msgspec.Struct, forbid_unknown_fields=True):
    number: int
    strength: Annotated[float, msgspec.Meta(ge=0, le=2)] = 1.0
    quick: bool = False


class _Class(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    do: Literal["start", "stop"]


def build_app(
    session: Session, token: str, host: str, port: int, tuning: Tuning | None = None
) -> Guard:
    """What answers the page, and nobody else.

    Args:
        session: that it shows.
        token: with which every address begins.
        host, port: that it listens on.
        tuning: what tunes on what was accepted; `None` offers none.
    """
    return Guard(build_pages(session, tuning), token, host, port)


def build_pages(session: Session, tuning: Tuning | None = None) -> Starlette:
    """What answers whoever asks.

    Args:
        session: that is shown.
        tuning: what tunes on what was accepted; `None` offers none.
    """
    pages = _Pages(session, tuning)
    routes = [
        Route("/", pages.file),
        Route("/api/session", told(pages.session)),
        Route("/api/classes", told(pages.add_class), methods=["POST"]),
        Route("/api/rounds", told(pages.rounds), methods=["POST"]),
        Route("/api/images/{index:int}", told(pages.image)),
        Route("/api/images/{index:int}/act", told(pages.act), methods=["POST"]),
        Route("/api/images/{index:int}/ask", told(pages.ask), methods=["POST"]),
        Route("/api/images/{index:int}/picture.png", told(pages.picture)),
        Route("/api/images/{index:int}/objects/{number:int}.png", told(pages.cutout)),
        Route("/api/planes/{axis:int}/{number:int}", told(pages.plane)),
        Route("/api/planes/{axis:int}/{number:int}/picture.png", told(pages.plane_picture)),
        Route("/{name}", pages.file),
    ]
    return Starlette(routes=routes, exception_handlers=HANDLERS)


class _Pages:
    """What is answered at each address."""

    def __init__(self, session: Session, tuning: Tuning | None) -> None:
        self._session, self._tuning = session, tuning
        folder = files("samtune.page") / "static"
        # nothing but these is ever read for an address
        self._files = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}

    async def file(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in self._files:
            raise HTTPException(404, "there is nothing here")
        kind = _KINDS.get(name.rpartition(".")[2], "application/octet-stream")
        return Response(self._files[name], media_type=kind)

    async def session(self, request: Request) -> Response:
        return await plain(tell_session, self._session, self._tuning)

    async def add_class(self, request: Request) -> Response:
        wanted = await read_message(request, _Class)
        await run_in_threadpool(self._session.add_class, wanted.name)
        return await self.session(request)

    async def rounds(self, request: Request) -> Response:
        order = await read_message(request, _Order)
        if self._tuning is None:
            raise UserError("this model cannot be tuned on: open a run, or a base")
        await run_in_threadpool(self._tuning.start if order.do == "start" else self._tuning.stop)
        return await self.session(request)

    async def image(self, request: Request) -> Response:
        index = request.path_params["index"]
        await run_in_threadpool(self._session.look_at, index)
        return await plain(tell_image, self._session, index)

    async def act(self, request: Request) -> Response:
        index, action = request.path_params["index"], await read_message(request, Action)
        await run_in_threadpool(act, self._session, index, action)
        known = request.query_params.get("known", "")
        number = int(known) if known.isdecimal() and len(known) < 10 else -1
        return await plain(tell_image, self._session, index, number)

    async def ask(self, request: Request) -> Response:
        index, asked = request.path_params["index"], await read_message(request, _Question)
        parts = (index, asked.number, asked.strength, asked.quick)
        answers = await run_in_threadpool(self._session.answer, *parts)
        return await plain(tell_answers, answers, asked.number)

    async def picture(self, request: Request) -> Response:
        content = await run_in_threadpool(self._session.picture, request.path_params["index"])
        return Response(content, media_type="image/png")

    async def plane(self, request: Request) -> Response:
        return await plain(tell_plane, self._session, *_plane_of(request))

    async def plane_picture(self, request: Request) -> Response:
        def made() -> bytes:
            return quick_png(self._session.planes.picture(*_plane_of(request)))

        return Response(await run_in_threadpool(made), media_type="image/png")

    async def cutout(self, request: Request) -> Response:
        index, number = request.path_params["index"], request.path_params["number"]
        pixels = await run_in_threadpool(self._session.cutout, index, number)
        return Response(to_png(pixels), media_type="image/png")


def _plane_of(request: Request) -> tuple[int, int]:
    """The axis that a plane lies across, and the number of the slice."""
    return request.path_params["axis"], request.path_params["number"]


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        UserError: there is no such host, or the port is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio sends small answers at once for sockets that say their protocol alone
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except OSError as error:
        where = f"{host}, port {port}" if port else host
        raise UserError(f"the page cannot listen on {where}: {error.strerror or error}") from error
    listening.listen(128)
    return listening


def build_server(
    session: Session, listening: socket.socket, token: str, tuning: Tuning | None = None
) -> uvicorn.Server:
    """A server of the page, to be run with the socket from `listen`."""
    host, port = listening.getsockname()[:2]
    app = build_app(session, token, host, port, tuning)
    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", ws="none")
    )


def serve(
    session: Session, listening: socket.socket, token: str, tuning: Tuning | None = None,
    opens: str = "",
) -> None:  # fmt: skip
    """Serve the page until it is interrupted, and make ahead what will be needed.

    Args:
        session: that it shows.
        listening: from `listen`.
        token: with which every address begins.
        tuning: what tunes on what was accepted; a round that runs ends with the page.
        opens: address to open in the browser; empty opens nothing.
    """
    is_over = threading.Event()
    ahead = threading.Thread(target=_work_ahead, args=(session, tuning, is_over), daemon=True)
    ahead.start()
    if opens:  # the socket listens already: a browser that is early waits
        threading.Thread(target=webbrowser.open, args=(opens,), daemon=True).start()
    try:
        build_server(session, listening, token, tuning).run(sockets=[listening])
    finally:
        is_over.set()
        if tuning is not None:
            tuning.stop()
        ahead.join()


def _work_ahead(session: Session, tuning: Tuning | None, is_over: threading.Event) -> None:
    """Make what will be needed, while nobody asks; doubts wait for quiet, and until a round is over."""
    while not is_over.is_set():
        try:
            is_tuning = tuning is not None and tuning.is_running
            is_done = session.work_ahead(not is_tuning and session.seconds_idle > _QUIET)
        except Exception:  # the page goes on; what fails ahead fails again, and is told, when asked
            log.exception("working ahead failed")
            is_done = False
        if not is_done:
            is_over.wait(_PAUSE)
