"""Connections on which every answer has a deadline.

The timeouts of `requests` count from byte to byte. So they never stop a body that sends one byte a
second, or an endless series of interim answers (100 Continue). Here the total time from the request
to the last byte of its answer is limited.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import time
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from http_source.errors import config_error

# The limit of concurrent requests of one sync: MAX_REQUESTS_AT_ONCE in context.py.
_POOL_SIZE = 16


def require_certificates() -> None:
    """Raise a config error if the environment names a certificate bundle that does not exist.

    Otherwise `requests` would raise an OSError on every request.
    """
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        path = os.environ.get(name)
        if path and not Path(path).exists():
            raise config_error(
                f"The environment variable {name} names {path}, which does not exist. Set it to a "
                "certificate bundle that this process can read, or remove it."
            )


class _TimedReader(io.RawIOBase):
    """Reads a socket until a deadline, then raises TimeoutError."""

    def __init__(self, connection: socket.socket, raw: io.RawIOBase, seconds: float) -> None:
        self._socket = connection
        self._raw = raw
        self._seconds = seconds
        self._ends = time.monotonic() + seconds
        self._pause = connection.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends - time.monotonic()
        if left <= 0:
            msg = f"the answer was not complete after {self._seconds:.0f} s"
            raise TimeoutError(msg)
        self._socket.settimeout(left if self._pause is None else min(self._pause, left))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


def _response_class(seconds: float) -> Any:
    def response(connection: socket.socket, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:
        made = http.client.HTTPResponse(connection, *args, **kwargs)
        made.fp = io.BufferedReader(_TimedReader(connection, made.fp.detach(), seconds))
        return made

    return response


class DeadlineAdapter(HTTPAdapter):
    """An adapter for HTTPS and HTTP. An answer may take at most `seconds` seconds."""

    def __init__(self, seconds: float) -> None:
        response = staticmethod(_response_class(seconds))
        plain = type("_Plain", (HTTPConnection,), {"response_class": response})
        secure = type("_Secure", (HTTPSConnection,), {"response_class": response})
        self._pools = {
            "http": type("_PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("_SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
        super().__init__(pool_maxsize=_POOL_SIZE)

    def build_response(
        self, req: requests.PreparedRequest, resp: BaseHTTPResponse
    ) -> requests.Response:
        """Build a response without its `Location` header.

        `requests` parses that header even if it does not follow redirects. A broken header would
        raise a ValueError.
        """
        response: requests.Response = super().build_response(req, resp)
        response.headers.pop("Location", None)
        return response

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use connections with a deadline."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> PoolManager:
        """Use connections with a deadline behind a proxy too."""
        manager: PoolManager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager
