"""The page's server: a session over HTTP, on this machine."""

import logging
import socket
import threading
import webbrowser
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Annotated, Any, Literal

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from samtune.drawing import to_png
from samtune.errors import UserError
from samtune.page.actions import Action, act
from samtune.page.guard import Guard
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

Endpoint = Callable[[Request], Awaitable[Response]]


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
        Route("/api/session", _told(pages.session)),
        Route("/api/classes", _told(pages.add_class), methods=["POST"]),
        Route("/api/rounds", _told(pages.rounds), methods=["POST"]),
        Route("/api/images/{index:int}", _told(pages.image)),
        Route("/api/images/{index:int}/act", _told(pages.act), methods=["POST"]),
        Route("/api/images/{index:int}/ask", _told(pages.ask), methods=["POST"]),
        Route("/api/images/{index:int}/picture.png", _told(pages.picture)),
        Route("/api/images/{index:int}/objects/{number:int}.png", _told(pages.cutout)),
        Route("/api/planes/{axis:int}/{number:int}", _told(pages.plane)),
        Route("/api/planes/{axis:int}/{number:int}/picture.png", _told(pages.plane_picture)),
        Route("/{name}", pages.file),
    ]
    handlers: dict[Any, Any] = {HTTPException: _refused, Exception: _failed}
    return Starlette(routes=routes, exception_handlers=handlers)


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
        return await _plain(tell_session, self._session, self._tuning)

    async def add_class(self, request: Request) -> Response:
        wanted = await _read(request, _Class)
        await run_in_threadpool(self._session.add_class, wanted.name)
        return await self.session(request)

    async def rounds(self, request: Request) -> Response:
        order = await _read(request, _Order)
        if self._tuning is None:
            raise UserError("this model cannot be tuned on: open a run, or a base")
        await run_in_threadpool(self._tuning.start if order.do == "start" else self._tuning.stop)
        return await self.session(request)

    async def image(self, request: Request) -> Response:
        index = request.path_params["index"]
        await run_in_threadpool(self._session.look_at, index)
        return await _plain(tell_image, self._session, index)

    async def act(self, request: Request) -> Response:
        index, action = request.path_params["index"], await _read(request, Action)
        await run_in_threadpool(act, self._session, index, action)
        known = request.query_params.get("known", "")
        number = int(known) if known.isdecimal() and len(known) < 10 else -1
        return await _plain(tell_image, self._session, index, number)

    async def ask(self, request: Request) -> Response:
        index, asked = request.path_params["index"], await _read(request, _Question)
        parts = (index, asked.number, asked.strength, asked.quick)
        answers = await run_in_threadpool(self._session.answer, *parts)
        return await _plain(tell_answers, answers, asked.number)

    async def picture(self, request: Request) -> Response:
        content = await run_in_threadpool(self._session.picture, request.path_params["index"])
        return Response(content, media_type="image/png")

    async def plane(self, request: Request) -> Response:
        return await _plain(tell_plane, self._session, *_plane_of(request))

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


async def _read(request: Request, kind: Any) -> Any:
    """The body of a request as one of our messages.

    Raises:
        UserError: it is none.
    """
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"this request is none of the page's: {error}") from error
    except ClientDisconnect as error:
        raise HTTPException(413, "too long") from error


async def _plain(tell: Callable[..., Any], *arguments: Any) -> Response:
    told = await run_in_threadpool(lambda: msgspec.json.encode(tell(*arguments)))
    return Response(told, media_type="application/json")


def _told(endpoint: Endpoint) -> Endpoint:
    """What a person can put right is told; nothing that a request brings ends the server."""

    async def telling(request: Request) -> Response:
        try:
            return await endpoint(request)
        except UserError as error:
            return _error(str(error), 400)

    return telling


async def _refused(request: Request, error: HTTPException) -> Response:
    return _error(error.detail, error.status_code)


async def _failed(request: Request, error: Exception) -> Response:
    log.error("a request failed", exc_info=error)
    return _error(f"samtune failed at this ({type(error).__name__}); its terminal says more", 500)


def _error(text: str, status: int) -> Response:
    told = msgspec.json.encode({"error": text})
    return Response(told, status, media_type="application/json")


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
