"""The page in a notebook: the same front end in a widget, and the session in the kernel behind it.

Nothing listens on a port: what the page asks comes as messages of the notebook itself, so that it also
works where the kernel runs on another machine.
"""

import asyncio
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

import anywidget
import traitlets

from samtune.page.server import build_pages
from samtune.page.session import Session

Send = Callable[[dict[str, Any], list[bytes]], Any]


def _front_end() -> dict[str, str]:
    """Files of the page by name; modules import each other by names instead of addresses."""
    folder = resources.files("samtune.page") / "static"
    found = {each.name: each.read_text("utf-8") for each in folder.iterdir() if each.is_file()}
    found["transport.js"] = found.pop("transport_widget.js")
    del found["widget.js"]
    return {name: text.replace('from "./', 'from "samtune/') for name, text in found.items()}


class PageWidget(anywidget.AnyWidget):  # type: ignore[misc]
    """A session as a notebook shows it.

    Args:
        session: that is shown.
        height: pixels.
    """

    _esm = (resources.files("samtune.page") / "static" / "widget.js").read_text("utf-8")
    files = traitlets.Dict().tag(sync=True)
    height = traitlets.Int(720).tag(sync=True)

    def __init__(self, session: Session, height: int = 720) -> None:
        super().__init__(files=_front_end(), height=height)
        self._pages = build_pages(session)
        self.on_msg(self._asked)

    def _asked(self, _: Any, message: Any, buffers: Any) -> None:
        answering = answer(self._pages, message, self.send)
        try:
            asyncio.get_running_loop().create_task(answering)
        except RuntimeError:  # no kernel, such as in tests
            asyncio.run(answering)


async def answer(pages: Any, message: Any, send: Send) -> None:
    """Answer a message as the server would a request: `pages` is called as it calls it (ASGI).

    Args:
        pages: from `build_pages`.
        message: `number`, `path` under the page's address, `body` (text or `None`).
        send: takes `number`, `status`, `kind`, and the body.
    """
    if not isinstance(message, dict) or not isinstance(message.get("path"), str):
        return
    path, _, query = message["path"].partition("?")
    body, status, kind, parts = message.get("body"), 500, "", list[bytes]()
    scope = {
        "type": "http", "method": "GET" if body is None else "POST", "path": f"/{path}",
        "raw_path": path.encode(), "query_string": query.encode(), "headers": [],
        "http_version": "1.1", "scheme": "http", "root_path": "", "server": None, "client": None,
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": str(body or "").encode(), "more_body": False}

    async def sending(event: dict[str, Any]) -> None:
        nonlocal status, kind
        if event["type"] == "http.response.start":
            status, headers = event["status"], dict(event["headers"])
            kind = headers.get(b"content-type", b"").decode()
        else:
            parts.append(event.get("body", b""))

    handling: Awaitable[None] = pages(scope, receive, sending)
    await handling
    told = {"number": message.get("number"), "status": status, "kind": kind}
    send(told, [b"".join(parts)])
