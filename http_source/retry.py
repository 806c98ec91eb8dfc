"""What is retried, how often, after what wait, and what is refused for good."""

from __future__ import annotations

import logging
import random
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

# One wait is never longer than five of the vendors' 60 s windows, whatever a header says.
MAX_WAIT_SECONDS = 300.0
# After so long, waits included, a request is not tried again. One wait and one answer may still
# follow, because the CDK looks at the time between two tries.
MAX_REQUEST_TIME = timedelta(minutes=30)
# A good status with a body that breaks the contract is asked for this often, then it is a fact.
MAX_TRIES_OF_A_BROKEN_BODY = 4

# The body of a refusal is read for its words only.
_MAX_ERROR_BYTES = 1024 * 1024
_MAX_WORDS = 500

_PARTIAL = 206
_REDIRECT = 300
_REFUSAL = 400
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500
# Refusals by the moment, not by the request: 408 timeout, 425 too early.
_TRANSIENT_STATUSES = frozenset({408, 425})
# Mistakes in the request itself: no repetition mends them.
_UNSENDABLE = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.TooManyRedirects,
)


@dataclass(frozen=True)
class Patience:
    """How often one request is tried, and the seconds that one answer may take in all."""

    max_tries: int
    answer_seconds: float


# Ten retries with waits of up to a minute are ten minutes of patience with a vendor that is down.
# 120 s from the first byte of a head to the last of its body: a page of 6 MB at 50 kB a second.
SYNC_PATIENCE = Patience(max_tries=11, answer_seconds=120.0)
# A user waits for a check.
CHECK_PATIENCE = Patience(max_tries=2, answer_seconds=15.0)


class RefusedError(Exception):
    """The vendor refused a request, and no repetition changes that.

    `status` and `text` are what it said. The message is a sentence that fits any refusal; the
    vendor's client, which knows the request, may have a better one.
    """

    def __init__(self, status: int, text: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.text = text


class JitteredBackoff(BackoffStrategy):
    """The wait that the vendor names, else exponential with full jitter, both capped."""

    def __init__(self, hold: Callable[[float], None] | None = None) -> None:
        """`hold` is told for how many seconds a 429 stops all requests that share its limit."""
        self._hold = hold

    def backoff_time(
        self,
        response_or_exception: requests.Response | requests.RequestException | None,
        attempt_count: int,
    ) -> float:
        """Seconds to wait before the next try, less those that the CDK adds."""
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
    """Wait before asking again for an answer that was good, but is doubted."""
    time.sleep(1 + random.uniform(0, backoff_ceiling(attempt)))  # noqa: S311 - jitter, no secret


class RetryingErrorHandler(HttpStatusErrorHandler):
    """Judges every answer to one request: it is taken, tried again, or refused for good.

    `receive` reads and checks the body of a good answer. It is called within the CDK's one loop of
    tries, so that a body that arrives broken is retried like a broken connection. `permanent` are
    the 5xx that mean a refusal of this request.
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
        """What the CDK shall do: take the answer or try again.

        Raises RefusedError where a repetition is of no use, and whatever `receive` raises beyond
        what it is documented to.
        """
        if isinstance(response_or_exception, requests.Response):
            try:
                return self._judge(response_or_exception)
            except requests.RequestException as error:
                return _broken_connection(error)  # while its body was read
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
    """Makes an `HttpStream`, and the client through which it reads, retry.

    429, 5xx, broken connections and broken bodies are tried again, after the wait that the vendor
    names or after an exponential one. Stands left of `HttpStream` among the bases; on its right it
    would be silently dead, so that is a TypeError when the class is made.
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
        """The CDK's seam for waits. `hold`: see `JitteredBackoff`."""
        return JitteredBackoff(hold)

    def get_error_handler(
        self,
        receive: Callable[[requests.Response], None] | None = None,
        *,
        request: str = "",
        permanent: Container[int] = (),
    ) -> ErrorHandler:
        """The CDK's seam for judging answers. For the arguments see `RetryingErrorHandler`."""
        return RetryingErrorHandler(
            receive, request=request, patience=self.patience, permanent=permanent
        )

    def get_error_display_message(self, exception: BaseException) -> str | None:
        """The sentence for a failure that nothing else has words for."""
        return f"Stream {self.name}: {unforeseen(exception)}"


def _leave(response: requests.Response) -> None:
    """Read a body that tells nothing, so that its connection can be used again."""
    _error_body(response)


def _error_body(response: requests.Response) -> bytes:
    """The first megabyte of the body of an answer that is not good."""
    content = b""
    for piece in response.iter_content(_MAX_ERROR_BYTES):
        content += piece
        if len(content) > _MAX_ERROR_BYTES:
            response.close()
            return b""
    return content


def error_text(content: bytes, status: int, reason: str | None = None) -> str:
    """What the vendor says of a failure, from any of the shapes that its error bodies have.

    Kustomer: `{"errors": [{"code", "message", ...}]}` or JSON:API errors with `title` and `detail`
    (https://developer.kustomer.com/docs/concepts/errors tells clients to accept both). Courier:
    `{"message", "type"}`. Anything else that tells is taken too.
    """
    try:
        words = _words(parse_json(content))
    except (ValueError, RecursionError):
        words = ""
    return (words or str(reason or f"HTTP {status}"))[:_MAX_WORDS]


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
