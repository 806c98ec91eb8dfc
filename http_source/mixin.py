"""The backoff mixin: what is retried, how often, and after what wait."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
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

from http_source.wait import backoff_ceiling, wait_hint

logger = logging.getLogger("airbyte")

# Ten retries of 60 s windows are ten minutes of patience with a vendor that is down.
MAX_RETRIES = 10
# One wait is never longer than five of the vendors' 60 s windows, whatever a header says.
MAX_WAIT_SECONDS = 300.0
# And one request never takes longer than this in all, waits included.
MAX_REQUEST_TIME = timedelta(minutes=30)
# A good status with a body that breaks the contract is asked for this often, then it is a fact.
MAX_TRIES_OF_A_BROKEN_BODY = 4
# The CDK sets no timeout at all. 10 s to connect; 90 s without a byte is a dead connection:
# both vendors answer pages in seconds (Courier's own client gives up after 60 s).
TIMEOUT_SECONDS = (10.0, 90.0)

_TOO_MANY_REQUESTS = 429
# Refusals by the moment, not by the request: 408 timeout, 425 too early.
_TRANSIENT_STATUSES = frozenset({408, 425})
# Mistakes in the request itself: no repetition mends them.
_HOPELESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.TooManyRedirects,
)


class BrokenBodyError(ValueError):
    """A good status with a body that breaks the vendor's contract; the text says what is wrong."""


class UnfinishedBodyError(ValueError):
    """A good status with a body that the vendor itself calls incomplete: a passing failure."""


def parsed_body(response: requests.Response) -> Any:
    """What the stream's `open_body` made of a good response when its status was judged."""
    return response._parsed_body  # type: ignore[attr-defined]  # noqa: SLF001 - set below


class JitteredBackoff(BackoffStrategy):
    """The wait that the vendor names, else exponential with full jitter, both capped."""

    def backoff_time(
        self,
        response_or_exception: requests.Response | requests.RequestException | None,
        attempt_count: int,
    ) -> float:
        """Seconds to wait, to which the CDK adds one; never 0, which it takes for no opinion."""
        if isinstance(response_or_exception, requests.Response):
            hint = wait_hint(
                response_or_exception.status_code,
                response_or_exception.headers,
                datetime.now(tz=UTC),
            )
            if hint is not None:
                if hint > MAX_WAIT_SECONDS:
                    logger.warning(
                        "The vendor asks for a wait of %.0f s; waiting %.0f s, the longest wait.",
                        hint,
                        MAX_WAIT_SECONDS,
                    )
                return min(hint, MAX_WAIT_SECONDS)
        wait = random.uniform(0, backoff_ceiling(attempt_count))  # noqa: S311 - jitter, no secret
        return max(0.01, wait - 1)


class RetryingErrorHandler(HttpStatusErrorHandler):
    """Tells the passing failure from the lasting one, and asks the stream what the latter means.

    A body is parsed here, so that one that arrives broken is retried like a broken connection.
    """

    def __init__(self, stream: BackoffMixin) -> None:
        super().__init__(
            logger,
            max_retries=stream.max_tries - 1,
            max_time=MAX_REQUEST_TIME,
        )
        self._stream = stream

    def interpret_response(
        self, response_or_exception: requests.Response | Exception | None = None
    ) -> ErrorResolution:
        """What the CDK shall do: take the answer, retry, or fail with a sentence for the user."""
        if isinstance(response_or_exception, requests.Response):
            return self._judge(response_or_exception)
        if isinstance(response_or_exception, requests.RequestException) and not isinstance(
            response_or_exception, _HOPELESS
        ):
            return _transient(f"The connection failed: {response_or_exception}")
        return super().interpret_response(response_or_exception)

    def _judge(self, response: requests.Response) -> ErrorResolution:
        status = response.status_code
        if status == _TOO_MANY_REQUESTS:
            return ErrorResolution(
                ResponseAction.RATE_LIMITED, FailureType.transient_error, "Rate limit reached."
            )
        if status >= 500 or status in _TRANSIENT_STATUSES:  # noqa: PLR2004
            return _transient(f"The vendor answered HTTP {status}.")
        if response.is_redirect or 300 <= status < 400:  # noqa: PLR2004
            return _lasting(
                f"Unexpected redirect (HTTP {status}) in answer to {self._request(response)}."
            )
        if status >= 400:  # noqa: PLR2004
            text = HttpStream.parse_response_error_message(response) or response.reason
            return self._stream.refusal(response) or _lasting(
                f"{self._request(response)} was refused with HTTP {status}: {text}"
            )
        return self._judge_body(response)

    def _request(self, response: requests.Response) -> str:
        name = getattr(self._stream, "name", "")
        return f"Stream {name}: {response.request.method} {str(response.url).split('?')[0]}"

    def _judge_body(self, response: requests.Response) -> ErrorResolution:
        try:
            body = _parse(response.content)
        except ValueError:
            return _transient(
                f"{self._request(response)} was answered with a body that is not JSON."
            )
        try:
            opened = self._stream.open_body(response, body)
        except BrokenBodyError as error:
            return self._judge_broken(response, str(error))
        except UnfinishedBodyError as error:
            return _transient(f"{self._request(response)}: {error}")
        response._parsed_body = opened  # type: ignore[attr-defined]  # noqa: SLF001
        return ErrorResolution(ResponseAction.SUCCESS, None, None)

    def _judge_broken(self, response: requests.Response, defect: str) -> ErrorResolution:
        # The prepared request is the same object on every retry, so it can carry the count.
        tries = getattr(response.request, "broken_bodies", 0) + 1
        response.request.broken_bodies = tries  # type: ignore[attr-defined]
        sentence = (
            f"{self._request(response)} was answered with a body that breaks the contract: {defect}"
        )
        if tries < MAX_TRIES_OF_A_BROKEN_BODY:
            return ErrorResolution(ResponseAction.RETRY, FailureType.system_error, sentence)
        return _lasting(sentence)


class BackoffMixin:
    """Makes an `HttpStream` retry 429, 5xx, broken connections and broken bodies.

    Stands left of `HttpStream` among the bases; on its right it would be silently dead, so that
    is a TypeError when the class is made. A stream says what its vendor's refusals mean in
    `refusal`, and what a good body must hold in `open_body`.
    """

    max_tries: int = MAX_RETRIES + 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        order = cls.__mro__
        if HttpStream in order and order.index(HttpStream) < order.index(BackoffMixin):
            msg = f"{cls.__name__}: BackoffMixin must stand left of HttpStream"
            raise TypeError(msg)

    def get_backoff_strategy(self) -> BackoffStrategy:
        """The CDK's seam for waits."""
        return JitteredBackoff()

    def get_error_handler(self) -> ErrorHandler:
        """The CDK's seam for judging answers."""
        return RetryingErrorHandler(self)

    def request_kwargs(
        self,
        stream_state: Mapping[str, Any] | None,
        stream_slice: Mapping[str, Any] | None = None,
        next_page_token: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        """Timeouts, and no redirects: a token is sent to the vendor's host alone."""
        return {"timeout": TIMEOUT_SECONDS, "allow_redirects": False}

    def refusal(self, response: requests.Response) -> ErrorResolution | None:
        """What a 4xx means to the user; None leaves the general sentence. For override."""
        return None

    def open_body(self, response: requests.Response, body: Any) -> Any:
        """Check a good answer's JSON and return what the stream wants of it. For override.

        Raises BrokenBodyError or UnfinishedBodyError; the request is then tried again, and the
        stream fails in the end with a system error or a transient one.
        """
        return body


def _parse(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        # orjson is strict where vendors are not: NaN, huge numbers, lone surrogates.
        return json.loads(content)


def _transient(sentence: str) -> ErrorResolution:
    return ErrorResolution(ResponseAction.RETRY, FailureType.transient_error, sentence)


def _lasting(sentence: str) -> ErrorResolution:
    return ErrorResolution(ResponseAction.FAIL, FailureType.system_error, sentence)
