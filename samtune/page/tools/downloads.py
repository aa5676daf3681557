"""Images that lie on Label Studio's server: from that one host alone, and bounded."""

import json
from http.client import HTTPException
from typing import IO, Any
from urllib.error import URLError
from urllib.parse import urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from samtune.errors import UserError

_SECONDS = 30
_MOST_BYTES = 256 * 2**20
_PORTS = {"http": 80, "https": 443}


class LabelStudioHost:
    """A server that was named.

    Args:
        address: such as http://localhost:8080.
        key: of an account there (Account & Settings, Access Token); empty sends none.

    Raises:
        UserError: the address is none.
    """

    def __init__(self, address: str, key: str = "") -> None:
        self._address, self._key = address.rstrip("/") + "/", key
        self._place = _place_of(self._address)
        if self._place is None:
            raise UserError(f"{address!r} is no address: expected such as http://localhost:8080")
        self._opener: OpenerDirector = build_opener(_SameHost(self._place))

    def has(self, link: str) -> bool:
        """Whether a link, or a path without a host, is of this server."""
        try:
            return _place_of(urljoin(self._address, link)) == self._place
        except ValueError:
            return False

    def get(self, link: str) -> bytes:
        """What lies there.

        Raises:
            UserError: it cannot be had, or is too large.
        """
        address = urljoin(self._address, link)
        headers = {"Authorization": self._authorization()} if self._key else {}
        return self._asked(Request(address, headers=headers), link)  # noqa: S310

    def _authorization(self) -> str:
        """What says who asks: a personal access token is changed for one that lasts minutes."""
        if self._key.count(".") != 2:  # a legacy token
            return f"Token {self._key}"
        body = json.dumps({"refresh": self._key}).encode()
        address = urljoin(self._address, "api/token/refresh")
        head = {"Content-Type": "application/json"}
        told = self._asked(Request(address, body, head), "api/token/refresh")  # noqa: S310
        try:
            return f"Bearer {json.loads(told)['access']}"
        except (ValueError, KeyError, TypeError) as error:
            raise UserError("Label Studio takes no LABEL_STUDIO_API_KEY of this kind") from error

    def _asked(self, request: Request, link: str) -> bytes:
        try:
            with self._opener.open(request, timeout=_SECONDS) as reply:
                content = bytes(reply.read(_MOST_BYTES + 1))
        except UserError:
            raise
        except (URLError, OSError, HTTPException, ValueError) as error:
            hint = "" if self._key else "; set LABEL_STUDIO_API_KEY, where it asks for an account"
            raise UserError(
                f"{link!r} cannot be had from {self._address}: {error}{hint}"
            ) from error
        if len(content) > _MOST_BYTES:
            raise UserError(f"{link!r} is larger than {_MOST_BYTES} bytes")
        return content


class _SameHost(HTTPRedirectHandler):
    """Follows where the server sends us only while that is the server."""

    def __init__(self, place: tuple[str, str, int] | None) -> None:
        self._place = place

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if _place_of(newurl) != self._place:
            raise UserError(
                f"{req.full_url!r} lies on another server: copy the images into a folder, and give "
                "--images FOLDER"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _place_of(address: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an address; `None` where it is none."""
    try:
        parts = urlsplit(address)
        if parts.scheme not in _PORTS or not parts.hostname:
            return None
        return parts.scheme, parts.hostname.lower(), parts.port or _PORTS[parts.scheme]
    except ValueError:
        return None
