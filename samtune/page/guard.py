"""Who may speak to the page: those that have its address, from the page itself.

Another page in the same browser can send requests to this machine. It does not know the token, which
every address begins with; and its requests say where they come from (`Origin`, `Sec-Fetch-Site`). A
name that was made to mean this machine (DNS rebinding) stands in `Host`, and is not ours.
"""

import ipaddress
import secrets
import socket
from collections.abc import Collection

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104
# Of a request's body, where nothing else is said: a mask of a large image is the longest.
_MOST_BYTES = 8 * 2**20
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Lets through what the page itself asks.

    Args:
        app: what answers; it sees paths without the token.
        token: with which every path begins.
        host: that the server listens on.
        port: of it.
        most_bytes: of a request's body.
        is_for_programs: programs call it, by whatever name their container has for this machine, and
            no page of a browser does.
    """

    def __init__(
        self, app: ASGIApp, token: str, host: str, port: int, most_bytes: int = _MOST_BYTES,
        is_for_programs: bool = False,
    ) -> None:  # fmt: skip
        self._app, self._token, self._host, self._port = app, token.encode(), host, port
        self._most_bytes, self._is_for_programs = most_bytes, is_for_programs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (refusal := self._refusal(scope)) is not None:
            await refusal(scope, receive, send)
            return
        place = scope["path"].split("/", 2)
        inner = {**scope, "path": f"/{place[2]}" if len(place) > 2 else ""}
        if not inner["path"]:  # the address without its last slash: modules would not be found
            reply = PlainTextResponse("", 307, {"location": f"{scope['path']}/"})
            await reply(scope, receive, send)
            return
        await self._app(inner, _bounded(receive, self._most_bytes), _with_headers(send))

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = {name.decode("latin-1"): v.decode("latin-1") for name, v in scope["headers"]}
        if not self._is_ours(headers.get("host", "")):
            return PlainTextResponse("this page is not called so", 403)
        origin = headers.get("origin")
        if origin is not None and (
            self._is_for_programs or origin != f"http://{headers.get('host')}"
        ):
            return PlainTextResponse("another page asks", 403)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return PlainTextResponse("another page asks", 403)
        token = scope["path"].split("/", 2)[1].encode()
        if not secrets.compare_digest(token, self._token):
            return PlainTextResponse("the address has no valid token: see where samtune runs", 403)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18 or int(length) > self._most_bytes:
            return PlainTextResponse(f"more than {self._most_bytes} bytes", 413)
        return None

    def _is_ours(self, host: str) -> bool:
        if self._is_for_programs and not is_loopback(self._host):
            return True
        name, _, port = host.rpartition(":")
        name = name.removeprefix("[").removesuffix("]").lower()
        if port != str(self._port):
            return False
        return name in self._names() or (self._host in _WILDCARDS and _is_address(name))

    def _names(self) -> Collection[str]:
        if self._host in _WILDCARDS:
            return (*_LOOPBACK, socket.gethostname().lower())
        return _LOOPBACK if is_loopback(self._host) else (self._host.lower(),)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens there."""
    return host in _LOOPBACK or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def name_of(host: str) -> str:
    """What a browser calls a server that listens there."""
    if host in _WILDCARDS:
        return socket.gethostname().lower()
    return f"[{host}]" if ":" in host else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _bounded(receive: Receive, most_bytes: int) -> Receive:
    """Bodies whose length was not told are cut off where they become too long."""
    read = 0

    async def bounded() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most_bytes:
            return {"type": "http.disconnect"}
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            known = {name.lower() for name, _ in message.get("headers", [])}
            more = [
                (n.encode(), v.encode()) for n, v in _HEADERS.items() if n.encode() not in known
            ]
            message = {**message, "headers": [*message.get("headers", []), *more]}
        await send(message)

    return sending
