"""A web server of this machine, which does what a test asks of it."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Web:
    """What the server has and how it behaves.

    Attributes:
        files: path -> content.
        moved: path -> address that it redirects to.
        cut: how many bytes of an answer are sent before the connection breaks; `None` for all.
        with_ranges: it knows ranges.
        tag: version of its files.
        requests: what came: path and the headers `Range` and `If-Range`.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    with_ranges: bool = True
    tag: str = '"1"'
    requests: list[tuple[str, str | None]] = field(default_factory=list)


def _handler(web):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers["Range"]
            web.requests.append((self.path, wanted))
            if self.path in web.moved:
                self._start(302, Location=web.moved[self.path])
            elif self.path not in web.files:
                self._start(404)
            else:
                condition = self.headers["If-Range"] in (None, web.tag)
                self._send(web.files[self.path], wanted if web.with_ranges and condition else None)

        def _send(self, content, wanted):
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if wanted and start >= len(content):
                self._start(416, Content_Range=f"bytes */{len(content)}")
                return
            rest = content[start:]
            head = {"Content_Length": len(rest), "ETag": web.tag}
            if wanted:
                place = f"bytes {start}-{len(content) - 1}/{len(content)}"
                self._start(206, Content_Range=place, **head)
            else:
                self._start(200, **head)
            self.wfile.write(rest[: web.cut])

        def _start(self, status, **headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()

        def log_message(self, *arguments):
            pass

    return Handler


@pytest.fixture
def web():
    web = Web()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(web))
    web.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield web
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The user's own cache and proxies stay out of it."""
    for name in (
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SAMTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
