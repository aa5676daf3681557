"""What a server reads of requests and how it replies: mistakes are told, nothing ends it."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from samtune.errors import UserError

log = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]


async def read_message(request: Request, kind: Any) -> Any:
    """The body of a request as one of our messages.

    Raises:
        UserError: it is none.
    """
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"this request cannot be understood: {error}") from error
    except ClientDisconnect as error:
        raise HTTPException(413, "too long") from error


async def plain(tell: Callable[..., Any], *arguments: Any) -> Response:
    """What a function returns, as JSON; it runs in a thread of its own."""
    content = await run_in_threadpool(lambda: msgspec.json.encode(tell(*arguments)))
    return Response(content, media_type="application/json")


def told(endpoint: Endpoint) -> Endpoint:
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


HANDLERS: dict[Any, Any] = {HTTPException: _refused, Exception: _failed}


def _error(text: str, status: int) -> Response:
    content = msgspec.json.encode({"error": text})
    return Response(content, status, media_type="application/json")
