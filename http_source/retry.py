"""Decides what is retried, how often and after what wait, and what is a permanent error."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import requests
from airbyte_cdk.models import FailureType
from airbyte_cdk.sources.streams.http import HttpStream
from airbyte_cdk.sources.streams.http.error_handlers import (
    BackoffStrategy,
    ErrorHandler,
    ErrorResolution,
    HttpStatusErrorHandler,
    ResponseAction,
)

from http_source.body import (
    BrokenBodyError,
    NotJsonError,
    UnfinishedBodyError,
    parse_json,
)
from http_source.cdk import LEAST_WAIT_SECONDS, WAIT_ADDED_SECONDS
from http_source.errors import system_error, unforeseen
from http_source.retry_after import backoff_ceiling, wait_hint

logger = logging.getLogger("airbyte")

# The longest single wait, even if a header asks for more: five of the vendors' 60 s windows.
MAX_WAIT_SECONDS = 300.0
# After this time, including waits, a request is not tried again. The CDK checks the time between
# two tries, so one more wait and one more answer may follow.
MAX_REQUEST_TIME = timedelta(minutes=30)
# How often a request is sent if its status is good but its body breaks the contract. After that,
# the error is permanent.
MAX_TRIES_OF_A_BROKEN_BODY = 4

# We only need the error text from the body of a refusal.
_MAX_ERROR_BYTES = 1024 * 1024
_MAX_WORDS = 500

_PARTIAL = 206
_REDIRECT = 300
_REFUSAL = 400
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
# These refusals may pass: 408 timeout, 425 too early.
_TRANSIENT_STATUSES = frozenset({408, 425})
# Mistakes in the request itself. A retry does not help.
_UNSENDABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.TooManyRedirects,
)


@dataclass(frozen=True)
class Patience:
    """How often one request is tried, and how many seconds one answer may take in total."""

    max_tries: int
    answer_seconds: float


# Ten retries with waits of up to a minute: a vendor may be down for up to ten minutes. An answer
# must be complete after 120 s: that is a page of 6 MB at 50 kB a second.
SYNC_PATIENCE = Patience(max_tries=11, answer_seconds=120.0)
# A check is short, because a user waits for it.
CHECK_PATIENCE = Patience(max_tries=2, answer_seconds=15.0)


class RefusedError(Exception):
    """The vendor refused a request, and a retry does not help.

    `status` is the HTTP status and `text` the vendor's error text. The message is a sentence that
    fits any refusal. The vendor's client knows the request and may replace it by a better one.
    """

    def __init__(self, status: int, text: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.text = text


class JitteredBackoff(BackoffStrategy):
    """Waits as long as the vendor asks, or else exponentially with full jitter. Both are capped."""

    def __init__(self, hold: Callable[[float], None] | None = None) -> None:
        """`hold` gets the seconds for which a 429 stops all requests that share its limit."""
        self._hold = hold

    def backoff_time(
        self,
        response_or_exception: requests.Response | requests.RequestException | None,
        attempt_count: int,
    ) -> float:
        """Return the seconds to wait before the next try. The CDK adds WAIT_ADDED_SECONDS."""
        if isinstance(response_or_exception, requests.Response):
            status = response_or_exception.status_code
            hint = wait_hint(status, response_or_exception.headers, datetime.now(tz=UTC))
            if hint is not None:
                if hint > MAX_WAIT_SECONDS:
                    logger.warning(
                        "The vendor asks for a wait of %.0f s; waiting %.0f s, the longest wait.",
                        hint,
                        MAX_WAIT_SECONDS,
                    )
                wait = min(hint, MAX_WAIT_SECONDS)
                if status == _TOO_MANY_REQUESTS and self._hold is not None:
                    self._hold(wait)
                return wait
        wait = random.uniform(0, backoff_ceiling(attempt_count))  # noqa: S311 - jitter, no secret
        return max(LEAST_WAIT_SECONDS, wait - WAIT_ADDED_SECONDS)


def pause(attempt: int) -> None:
    """Wait before a request is repeated because its good answer is not plausible."""
    time.sleep(1 + random.uniform(0, backoff_ceiling(attempt)))  # noqa: S311 - jitter, no secret


class RetryingErrorHandler(HttpStatusErrorHandler):
    """Judges every answer to one request: accept it, try again, or raise a permanent error.

    `receive` reads and checks the body of a good answer. It runs inside the CDK's loop of tries. So
    a broken body is retried like a broken connection. `permanent` lists the 5xx statuses that are
    permanent errors of this request.
    """

    def __init__(
        self,
        receive: Callable[[requests.Response], None] | None = None,
        *,
        request: str = "",
        patience: Patience = SYNC_PATIENCE,
        permanent: Container[int] = (),
    ) -> None:
        super().__init__(logger, max_retries=patience.max_tries - 1, max_time=MAX_REQUEST_TIME)
        self._receive = receive
        self._request = request
        self._permanent = permanent
        self._broken_bodies = 0
        self._max_broken_bodies = min(MAX_TRIES_OF_A_BROKEN_BODY, patience.max_tries)

    def interpret_response(
        self, response_or_exception: requests.Response | Exception | None = None
    ) -> ErrorResolution:
        """Tell the CDK to accept the answer or to try again.

        Raises RefusedError for a permanent error. Raises a system error for a redirect, for a
        request that cannot be sent, and for a body that stays broken. Other errors of `receive`
        pass through.
        """
        if isinstance(response_or_exception, requests.Response):
            try:
                return self._judge(response_or_exception)
            except requests.RequestException as error:
                return _broken_connection(error)  # it broke while the body was read
        if isinstance(response_or_exception, _UNSENDABLE):
            raise system_error(f"The request cannot be sent: {response_or_exception}")
        if isinstance(response_or_exception, requests.RequestException):
            return _broken_connection(response_or_exception)
        return super().interpret_response(response_or_exception)

    def _judge(self, response: requests.Response) -> ErrorResolution:
        status = response.status_code
        if status == _TOO_MANY_REQUESTS:
            _leave(response)
            return ErrorResolution(
                ResponseAction.RATE_LIMITED, FailureType.transient_error, "Rate limit reached."
            )
        if _REDIRECT <= status < _REFUSAL:
            _leave(response)
            raise system_error(
                f"Unexpected redirect (HTTP {status}) in answer to {self._request}. The key is "
                "sent to the configured host alone."
            )
        is_refusal = _REFUSAL <= status < _SERVER_ERROR and status not in _TRANSIENT_STATUSES
        if is_refusal or status in self._permanent:
            text = error_text(_error_body(response), status, response.reason)
            raise RefusedError(
                status, text, f"{self._request} was refused with HTTP {status}: {text}"
            )
        if status >= _REFUSAL or status < 200 or status == _PARTIAL:  # noqa: PLR2004
            _leave(response)
            return _transient(f"{self._request} was answered with HTTP {status}.")
        return self._judge_body(response)

    def _judge_body(self, response: requests.Response) -> ErrorResolution:
        try:
            if self._receive is not None:
                self._receive(response)
        except NotJsonError:
            return _transient(f"{self._request} was answered with a body that is not JSON.")
        except UnfinishedBodyError as error:
            return _transient(f"{self._request}: {error}")
        except BrokenBodyError as error:
            sentence = f"{self._request} was answered with a body that breaks the contract: {error}"
            self._broken_bodies += 1
            if self._broken_bodies < self._max_broken_bodies:
                return ErrorResolution(ResponseAction.RETRY, FailureType.system_error, sentence)
            raise system_error(sentence) from None
        return ErrorResolution(ResponseAction.SUCCESS, None, None)


class BackoffMixin:
    """Adds retries to an `HttpStream` and to the client that it reads through.

    429, 5xx, broken connections and broken bodies are tried again. The wait is the vendor's, or
    else exponential. This class must stand left of `HttpStream` among the bases. On the right it
    would have no effect, so the definition of such a class raises a TypeError.
    """

    name: str
    patience: Patience = SYNC_PATIENCE

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        order = cls.__mro__
        if HttpStream in order and order.index(HttpStream) < order.index(BackoffMixin):
            msg = f"{cls.__name__}: BackoffMixin must stand left of HttpStream"
            raise TypeError(msg)

    def get_backoff_strategy(self, hold: Callable[[float], None] | None = None) -> BackoffStrategy:
        """The CDK's hook for waits. For `hold` see `JitteredBackoff`."""
        return JitteredBackoff(hold)

    def get_error_handler(
        self,
        receive: Callable[[requests.Response], None] | None = None,
        *,
        request: str = "",
        permanent: Container[int] = (),
    ) -> ErrorHandler:
        """The CDK's hook that judges answers. For the arguments see `RetryingErrorHandler`."""
        return RetryingErrorHandler(
            receive, request=request, patience=self.patience, permanent=permanent
        )

    def get_error_display_message(self, exception: BaseException) -> str | None:
        """Return the sentence for an unexpected failure."""
        return f"Stream {self.name}: {unforeseen(exception)}"


def _leave(response: requests.Response) -> None:
    """Read a body that we do not need, so that its connection can be used again."""
    _error_body(response)


def _error_body(response: requests.Response) -> bytes:
    """Read the body of an answer that is not good. Returns b"" if it exceeds a megabyte."""
    content = b""
    for piece in response.iter_content(_MAX_ERROR_BYTES):
        content += piece
        if len(content) > _MAX_ERROR_BYTES:
            response.close()
            return b""
    return content


def error_text(content: bytes, status: int, reason: str | None = None) -> str:
    """Return the vendor's error text, from any known shape of an error body.

    Kustomer: `{"errors": [{"code", "message", ...}]}` or JSON:API errors with `title` and `detail`
    (https://developer.kustomer.com/docs/concepts/errors tells clients to accept both). Courier:
    `{"message", "type"}`. Text under similar names is used too. Without any text, the reason
    phrase or the status is returned.
    """
    try:
        words = _words(parse_json(content))
    except (ValueError, RecursionError):
        words = ""
    return without_queries(words or str(reason or f"HTTP {status}"))[:_MAX_WORDS]


# A URL and its query, which may be the signature of a link that anybody can use.
_QUERY = re.compile(r"(https?://[^\s?\"'<>]*)\?[^\s\"'<>]*", re.IGNORECASE)


def without_queries(text: str) -> str:
    """The text with the query cut off each URL, because a signed link is a secret."""
    return _QUERY.sub(r"\1", text)


def _words(body: object) -> str:
    if isinstance(body, str | int):
        return str(body)
    if isinstance(body, list):
        return "; ".join(filter(None, map(_words, body)))
    if not isinstance(body, dict):
        return ""
    for name in ("errors", "error", "message", "detail", "title", "code", "type", "status"):
        if words := _words(body.get(name)):
            return words
    return ""


def _broken_connection(error: requests.RequestException) -> ErrorResolution:
    return _transient(f"The connection failed: {error}")


def _transient(sentence: str) -> ErrorResolution:
    return ErrorResolution(ResponseAction.RETRY, FailureType.transient_error, sentence)
