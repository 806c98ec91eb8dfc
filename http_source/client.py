"""The base of both vendor clients: sends one request until its answer is good, or is final."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Container, Mapping
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

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

# The CDK sets no timeout at all. 10 s to connect; 90 s without a byte is a dead connection:
# both vendors answer pages in seconds (Courier's own client gives up after 60 s).
_TIMEOUT_SECONDS = (10.0, 90.0)
# What is longer than this when half the time for an answer is over, is worth asking for in smaller
# pages.
_LONG_BODY_BYTES = 64 * 1024
# A length that a body can have.
_LENGTH = re.compile("[0-9]{1,18}")

T = TypeVar("T")


class _Receiver(Generic[T]):
    """Reads the body of a good answer, and keeps what `accept` makes of it."""

    def __init__(
        self, accept: Callable[[bytes], T], max_bytes: int | None, answer_seconds: float
    ) -> None:
        self._accept = accept
        self._max_bytes = max_bytes
        self._answer_seconds = answer_seconds
        self.value: T

    def __call__(self, response: requests.Response) -> None:
        """Raises what `accept` raises, RequestException and PageTooLargeError."""
        self.value = self._accept(self._read(response))

    def _read(self, response: requests.Response) -> bytes:
        told = response.headers.get("Content-Length", "")
        # Compressed or not, the body is at least so large.
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
                # On a slow line a shorter body may arrive in time.
                raise PageTooLargeError from None
            raise
        return b"".join(pieces)

    def _is_too_large(self, size: int) -> bool:
        return self._max_bytes is not None and size > self._max_bytes


class VendorClient:
    """Speaks to one vendor for one stream. Safe to be used by many threads.

    Each request has an `HttpClient` of the CDK to itself, because that has one error handler, and
    what a good answer is differs from request to request. The session, and so the connections, are
    shared by all requests of a bucket.
    """

    # The groups of requests that have a rate limit of their own.
    buckets: ClassVar[tuple[str, ...]] = ("all",)

    def __init__(
        self, stream: BackoffMixin, context: SyncContext[Any], base_url: str, token: str
    ) -> None:
        """`base_url` has no trailing slash. Raises a config error for a missing certificate."""
        require_certificates()
        self.base_url = base_url
        self._stream = stream
        self._context = context
        connect, silence = _TIMEOUT_SECONDS
        seconds = context.patience.answer_seconds
        # No redirects: the key is sent to the vendor's host alone.
        self._options = {
            "timeout": (min(connect, seconds / 2), min(silence, seconds)),
            "allow_redirects": False,
            "stream": True,
        }
        self._sessions = {bucket: self._session(bucket, token) for bucket in self.buckets}

    def _session(self, bucket: str, token: str) -> LimiterSession:
        budget = self._context.budget
        session = LimiterSession(
            APIBudget(policies=[])
            if budget is None
            else budget.for_bucket(bucket, self._announce_wait)
        )
        adapter = DeadlineAdapter(self._context.patience.answer_seconds)
        for scheme in ("https://", "http://"):
            session.mount(scheme, adapter)
        session.auth = TokenAuthenticator(token)
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
        """Send a request and return what `accept` makes of the body of its good answer.

        `accept` may raise BrokenBodyError, UnfinishedBodyError and NotJsonError: the request is
        then sent again. `permanent` are statuses from 500 on that refuse this request for good. A
        body of more than `max_bytes` is not read to its end.

        Raises RefusedError, PageTooLargeError, what `accept` raises, and an AirbyteTracedException
        for everything else that does not pass.
        """
        url = f"{self.base_url}/{path}"
        receive = _Receiver(accept, max_bytes, self._context.patience.answer_seconds)
        http = HttpClient(
            name=self._stream.name,
            logger=logger,
            error_handler=self._stream.get_error_handler(
                receive,
                request=f"Stream {self._stream.name}: {method} {url}",
                permanent=permanent,
            ),
            backoff_strategy=self._stream.get_backoff_strategy(self._hold(bucket)),
            session=self._sessions[bucket],
        )
        _, response = http.send_request(method, url, self._options, params=params, json=json)
        self.observe(response.headers)
        return receive.value

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take note of the headers of a good answer. For override."""
