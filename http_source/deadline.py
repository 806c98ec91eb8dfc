"""Connections on which every answer has a deadline, however it trickles in.

The timeouts of `requests` count from byte to byte, so a body that sends one byte a second never
ends, and neither do interim answers (100 Continue) without end. Here the time from the request to
the last byte of its answer is limited in all.
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

# Streams of one sync have at most so many requests under way.
_POOL_SIZE = 16


def require_certificates() -> None:
    """Raise a config error if the environment names a certificate bundle that is not there.

    `requests` would raise an OSError with every request.
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
    """What a session is given for https:// and http://; answers take so many seconds at most."""

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
        """As ever, but without the address of a redirect.

        `requests` takes it apart although redirects are not followed, and a broken one is a
        ValueError to it.
        """
        response: requests.Response = super().build_response(req, resp)
        response.headers.pop("Location", None)
        return response

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As ever, with our connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> PoolManager:
        """The same behind a proxy."""
        manager: PoolManager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager
