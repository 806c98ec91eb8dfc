"""The base of both vendor clients: sends a request until it gets a good answer or a final error."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Container, Mapping
from functools import partial
from threading import Lock
from typing import Any, Generic, TypeVar

import requests
from airbyte_cdk.sources.streams.http.requests_native_auth import TokenAuthenticator

from http_source import tuning
from http_source.body import PageTooLargeError
from http_source.cdk import APIBudget, HttpClient, LimiterSession
from http_source.context import SyncContext
from http_source.deadline import DeadlineAdapter, require_certificates
from http_source.progress import announce_rate_limit
from http_source.retry import BackoffMixin

logger = logging.getLogger("airbyte")

# The CDK sets no timeout. A connection may take 10 s to open. It is dead after 90 s without a byte:
# both vendors answer pages in seconds (Courier's own client gives up after 60 s).
_TIMEOUT_SECONDS = (10.0, 90.0)
# If more than this was read when a slow answer breaks, the request is repeated with smaller pages.
_LONG_BODY_BYTES = 64 * 1024
# A plausible value of Content-Length.
_LENGTH = re.compile("[0-9]{1,18}")

T = TypeVar("T")


class _Receiver(Generic[T]):
    """Reads the body of a good answer and keeps the value that `accept` returns for it."""

    def __init__(
        self, accept: Callable[[bytes], T], max_bytes: int | None, answer_seconds: float
    ) -> None:
        self._accept = accept
        self._max_bytes = max_bytes
        self._answer_seconds = answer_seconds
        self.value: T

    def __call__(self, response: requests.Response) -> None:
        """Raises RequestException, PageTooLargeError and any error of `accept`."""
        self.value = self._accept(self._read(response))

    def _read(self, response: requests.Response) -> bytes:
        told = response.headers.get("Content-Length", "")
        # Content-Length counts compressed bytes. The body itself has at least as many.
        if self._is_too_large(int(told) if _LENGTH.fullmatch(told) else 0):
            response.close()
            raise PageTooLargeError
        pieces: list[bytes] = []
        size, began = 0, time.monotonic()
        try:
            for piece in response.iter_content(tuning.BODY_CHUNK_BYTES):
                size += len(piece)
                pieces.append(piece)
                if self._is_too_large(size):
                    response.close()
                    raise PageTooLargeError
        except requests.RequestException:
            is_slow = time.monotonic() - began > self._answer_seconds / 2
            if self._max_bytes is not None and is_slow and size > _LONG_BODY_BYTES:
                # On a slow connection, a shorter body may arrive in time.
                raise PageTooLargeError from None
            raise
        return b"".join(pieces)

    def _is_too_large(self, size: int) -> bool:
        return self._max_bytes is not None and size > self._max_bytes


class VendorClient:
    """Sends the requests of one stream to one vendor. Many threads may use it at once.

    Each request gets its own `HttpClient` of the CDK: an HttpClient has one error handler, but each
    request has its own rule for a good answer. All requests of a bucket share one session and its
    connections.
    """

    def __init__(
        self, stream: BackoffMixin, context: SyncContext[Any], base_url: str, token: str
    ) -> None:
        """`base_url` has no trailing slash."""
        self.base_url = base_url
        self._token = token
        self._stream = stream
        self._context = context
        connect, silence = _TIMEOUT_SECONDS
        seconds = context.patience.answer_seconds
        # No redirects: the key must only go to the vendor's host.
        self._options = {
            "timeout": (min(connect, seconds / 2), min(silence, seconds)),
            "allow_redirects": False,
            "stream": True,
        }
        self._sessions: dict[str, LimiterSession] = {}
        self._lock = Lock()

    def _session(self, bucket: str) -> LimiterSession:
        """The session of a bucket, made when it is first used: most streams are not read."""
        with self._lock:
            session = self._sessions.get(bucket)
            if session is None:
                session = self._sessions[bucket] = self._make_session(bucket)
            return session

    def _make_session(self, bucket: str) -> LimiterSession:
        require_certificates()
        budget = self._context.budget
        session = LimiterSession(
            APIBudget(policies=[])
            if budget is None
            else budget.for_bucket(bucket, self._announce_wait)
        )
        adapter = DeadlineAdapter(self._context.patience.answer_seconds)
        # Only a loopback address may use http: see config.py.
        for scheme in ("https://", "http://"):  # ignore-https-check (Airbyte's QA)
            session.mount(scheme, adapter)
        session.auth = TokenAuthenticator(self._token)
        return session

    def _announce_wait(self, _seconds: float) -> None:
        if self._context.stream_being_read == self._stream.name:
            announce_rate_limit(self._stream.name)

    def _hold(self, bucket: str) -> Callable[[float], None] | None:
        budget = self._context.budget
        return None if budget is None else partial(budget.hold, bucket)

    def fetch(
        self,
        method: str,
        path: str,
        accept: Callable[[bytes], T],
        *,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        bucket: str = "all",
        max_bytes: int | None = None,
        permanent: Container[int] = (),
    ) -> T:
        """Send a request and return what `accept` returns for the body of its good answer.

        `accept` may raise BrokenBodyError, UnfinishedBodyError or NotJsonError. Then the request is
        sent again. `permanent` lists statuses from 500 on that are permanent errors of this
        request. A body of more than `max_bytes` is not read to its end.

        Raises RefusedError, PageTooLargeError, any other error of `accept`, and an
        AirbyteTracedException for every failure that lasts, or if a certificate is missing.
        """
        url = f"{self.base_url}/{path}"
        receive = _Receiver(accept, max_bytes, self._context.patience.answer_seconds)
        http = HttpClient(
            # The CDK reports a rate limit as a status of this stream. Requests for the next stream
            # share the limit, and their own stream has not started.
            name=self._context.stream_being_read or self._stream.name,
            logger=logger,
            error_handler=self._stream.get_error_handler(
                receive,
                request=f"Stream {self._stream.name}: {method} {url}",
                permanent=permanent,
            ),
            backoff_strategy=self._stream.get_backoff_strategy(self._hold(bucket)),
            session=self._session(bucket),
        )
        _, response = http.send_request(method, url, self._options, params=params, json=json)
        self.observe(response.headers)
        return receive.value

    def observe(self, headers: Mapping[str, str]) -> None:
        """Look at the headers of a good answer. For override."""
