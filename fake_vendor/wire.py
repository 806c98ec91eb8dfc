"""The requests and replies of a vendor as plain values, without HTTP."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl, urlsplit

import orjson

Breakage = Literal["", "reset", "truncate"]


@dataclass(frozen=True)
class Request:
    """One request. Header names are lower case. A repeated parameter keeps its last value."""

    method: str
    path: str
    params: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def from_target(
        cls, method: str, target: str, headers: dict[str, str], body: bytes = b""
    ) -> Request:
        """Build a request from the target of a request line, or from a complete URL."""
        parts = urlsplit(target)
        lower = {name.lower(): value for name, value in headers.items()}
        params = dict(parse_qsl(parts.query, keep_blank_values=True))
        return cls(method.upper(), parts.path, params, lower, body)


@dataclass(frozen=True)
class Reply:
    """One answer. The owner of the socket applies `fault` and `delay_s`."""

    status: int
    headers: dict[str, str]
    body: bytes
    fault: Breakage = ""
    delay_s: float = 0.0

    def json(self) -> Any:
        """Parse the body."""
        return orjson.loads(self.body)


class Vendor(Protocol):
    """An object that answers requests."""

    def handle(self, request: Request) -> Reply:
        """Answer one request."""


def json_reply(status: int, body: object, headers: dict[str, str] | None = None) -> Reply:
    """Build a JSON answer."""
    return raw_reply(status, orjson.dumps(body), headers)


def raw_reply(status: int, body: bytes, headers: dict[str, str] | None = None) -> Reply:
    """Build an answer from bytes that are already JSON."""
    return Reply(
        status, {"content-type": "application/json; charset=utf-8", **(headers or {})}, body
    )
