"""The backoff mixin: what is retried, how often, and after what wait."""

from __future__ import annotations

import json
import logging
import random
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

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
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.body import is_deeper_than, may_be_deep, parse_json, weight
from http_source.config import unforeseen
from http_source.deadline import DeadlineAdapter, require_certificates
from http_source.retry_after import backoff_ceiling, wait_hint

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

# One answer takes this long at most, from the first byte of its head to the last of its body: a
# page of 6 MB at 50 kB a second.
ANSWER_SECONDS = 120.0
# `check` is waited for: two tries, each answered within this.
CHECK_ANSWER_SECONDS = 15.0
CHECK_TRIES = 2

# Bodies are read in pieces of this size; 10 kB, as `requests` does, takes a tenth more processor
# time of a sync.
_PIECE_BYTES = 128 * 1024
# What is longer than this when the time for an answer is over, can be asked for in smaller pages.
_LONG_BODY_BYTES = 64 * 1024
# The body of a refusal is read for its words only.
_MOST_ERROR_BYTES = 1024 * 1024
_MOST_WORDS = 500
# One with more objects and lists is no message to anybody, and may be nested too deeply to be read.
_MOST_ERROR_PARTS = 500

# What can be flattened and written as JSON again, with room to spare: Python stops at 1,000 calls.
MOST_LEVELS = 400
TOO_DEEP = f"expected values nested in at most {MOST_LEVELS} levels"

_PARTIAL = 206
# A length that a body can have.
_DIGITS = re.compile("[0-9]{1,18}")
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


class BodyTooLargeError(Exception):
    """A body for which the stream has no room; it was not read to its end."""


class UnfinishedBodyError(ValueError):
    """A good status with a body that the vendor itself calls incomplete: a passing failure."""


def parsed_body(response: requests.Response) -> Any:
    """What the stream's `validate_page` made of a good response when its status was judged."""
    return response._parsed_body  # type: ignore[attr-defined]  # noqa: SLF001 - set below


def weight_of(response: requests.Response) -> int:
    """About how many bytes the value of a good response takes in memory."""
    return response._weight  # type: ignore[attr-defined, no-any-return]  # noqa: SLF001 - set below


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


def pause(attempt: int) -> None:
    """Wait before asking again for an answer that was good, but is doubted."""
    time.sleep(1 + random.uniform(0, backoff_ceiling(attempt)))  # noqa: S311 - jitter, no secret


class RetryingErrorHandler(HttpStatusErrorHandler):
    """Tells the passing failure from the lasting one, and asks the stream what the latter means.

    A body is read and parsed here, so that one that arrives broken is retried like a broken
    connection.
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
            try:
                self._read_body(response_or_exception)
            except requests.RequestException as error:
                return _broken_connection(error)
            return self._judge(response_or_exception)
        if isinstance(response_or_exception, requests.RequestException) and not isinstance(
            response_or_exception, _HOPELESS
        ):
            return _broken_connection(response_or_exception)
        if isinstance(response_or_exception, requests.RequestException):
            return _permanent(f"The request cannot be sent: {response_or_exception}")
        return super().interpret_response(response_or_exception)

    def _read_body(self, response: requests.Response) -> None:
        """Take the whole body, but no more than the stream has room for.

        Raises BodyTooLargeError, which ends the request.
        """
        most = self._stream.most_body_bytes(response) if response.ok else _MOST_ERROR_BYTES
        told = response.headers.get("Content-Length", "")
        if most is not None and _DIGITS.fullmatch(told) and int(told) > most:
            # Compressed or not, it is at least so large.
            self._leave(response)
            return
        pieces: list[bytes] = []
        size, began = 0, time.monotonic()
        try:
            for piece in response.iter_content(_PIECE_BYTES):
                size += len(piece)
                pieces.append(piece)
                if most is not None and size > most:
                    self._leave(response)
                    return
        except requests.RequestException:
            # A long body on a slow line: a shorter one arrives in time.
            is_slow = time.monotonic() - began > self._stream.answer_seconds / 2
            if most is not None and is_slow and size > _LONG_BODY_BYTES:
                self._leave(response)
            raise
        # As `requests` does when it reads a body at once; `content`, `text` and `json` use it.
        response._content = b"".join(pieces)  # noqa: SLF001

    @staticmethod
    def _leave(response: requests.Response) -> None:
        response.close()
        if response.ok:
            raise BodyTooLargeError
        response._content = b""  # noqa: SLF001

    def _judge(self, response: requests.Response) -> ErrorResolution:
        status = response.status_code
        if not response.ok:
            _tame_body(response)
        if status == _TOO_MANY_REQUESTS:
            return ErrorResolution(
                ResponseAction.RATE_LIMITED, FailureType.transient_error, "Rate limit reached."
            )
        if response.is_redirect or 300 <= status < 400:  # noqa: PLR2004
            return _permanent(
                f"Unexpected redirect (HTTP {status}) in answer to {self._request(response)}. The "
                "key is sent to the configured host alone."
            )
        if status >= 400 and status not in _TRANSIENT_STATUSES:  # noqa: PLR2004
            meaning = self._stream.explain_error(response)
            if meaning is not None:
                return meaning
        if status >= 500 or status in _TRANSIENT_STATUSES or status < 200 or status == _PARTIAL:  # noqa: PLR2004
            return _transient(f"{self._request(response)} was answered with HTTP {status}.")
        if status >= 400:  # noqa: PLR2004
            return _permanent(
                f"{self._request(response)} was refused with HTTP {status}: {error_text(response)}"
            )
        return self._judge_body(response)

    def _request(self, response: requests.Response) -> str:
        name = getattr(self._stream, "name", "")
        return f"Stream {name}: {response.request.method} {str(response.url).split('?')[0]}"

    def _judge_body(self, response: requests.Response) -> ErrorResolution:
        try:
            room = self._stream.most_weight(response)
            heavy = weight(response.content)
            if room is not None and heavy > room:
                raise BodyTooLargeError
            response._weight = heavy  # type: ignore[attr-defined]  # noqa: SLF001
            body = parse_json(response.content)
        except ValueError:
            return _transient(
                f"{self._request(response)} was answered with a body that is not JSON."
            )
        except RecursionError:
            return self._judge_broken(response, TOO_DEEP)
        if may_be_deep(response.content) and is_deeper_than(MOST_LEVELS, body):
            return self._judge_broken(response, TOO_DEEP)
        try:
            opened = self._stream.validate_page(response, body)
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
        if tries < min(MAX_TRIES_OF_A_BROKEN_BODY, self._stream.max_tries):
            return ErrorResolution(ResponseAction.RETRY, FailureType.system_error, sentence)
        # Raised, not returned: the CDK would write the whole body, with its records, into the log.
        raise AirbyteTracedException(
            message=sentence, internal_message=sentence, failure_type=FailureType.system_error
        )


class BackoffMixin:
    """Makes an `HttpStream` retry 429, 5xx, broken connections and broken bodies.

    Stands left of `HttpStream` among the bases; on its right it would be silently dead, so that
    is a TypeError when the class is made. A stream says what its vendor's refusals mean in
    `explain_error`, and what a good body must hold in `validate_page`.
    """

    max_tries: int = MAX_RETRIES + 1
    # Seconds that one answer may take in all.
    answer_seconds: float = ANSWER_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        require_certificates()
        super().__init__(*args, **kwargs)
        adapter = DeadlineAdapter(self.answer_seconds)
        for scheme in ("https://", "http://"):
            self._http_client._session.mount(scheme, adapter)  # type: ignore[attr-defined]  # noqa: SLF001

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
        connect, read = TIMEOUT_SECONDS
        return {
            "timeout": (min(connect, self.answer_seconds / 2), min(read, self.answer_seconds)),
            "allow_redirects": False,
            "stream": True,
        }

    def most_body_bytes(self, response: requests.Response) -> int | None:
        """How large the body of this good answer may be; None is no limit. For override.

        A larger one is not read to its end: the stream gets a BodyTooLargeError, and asks for less.
        """
        return None

    def most_weight(self, response: requests.Response) -> int | None:
        """How much memory the value of a good answer may take; None is no limit. For override."""
        return None

    def get_error_display_message(self, exception: BaseException) -> str | None:
        """The sentence for a failure that nothing else has words for."""
        return f"Stream {getattr(self, 'name', '')}: {unforeseen(exception)}"

    def explain_error(self, response: requests.Response) -> ErrorResolution | None:
        """What a 4xx means to the user; None leaves the general sentence. For override."""
        return None

    def validate_page(self, response: requests.Response, body: Any) -> Any:
        """Check a good answer's JSON and return what the stream wants of it. For override.

        Raises BrokenBodyError or UnfinishedBodyError; the request is then tried again, and the
        stream fails in the end with a system error or a transient one.
        """
        return body


def _tame_body(response: requests.Response) -> None:
    """Leave of a refusal's body what the CDK can read and log: it does so without precautions."""
    content = response.content
    try:
        if content.count(b"[") + content.count(b"{") > _MOST_ERROR_PARTS:
            tame = b""
        else:
            tame = json.dumps(parse_json(content)).encode()
    except ValueError:
        tame = content.decode("utf-8", "replace").encode()
    response._content = tame  # noqa: SLF001


def error_text(response: requests.Response) -> str:
    """What the vendor says of a failure, from any of the shapes that its error bodies have.

    Kustomer: `{"errors": [{"code", "message", ...}]}` or JSON:API errors with `title` and `detail`
    (https://developer.kustomer.com/docs/concepts/errors tells clients to accept both). Courier:
    `{"message", "type"}`. Anything else that tells is taken too.
    """
    try:
        words = _words(parse_json(response.content))
    except (ValueError, RecursionError):
        words = ""
    return (words or str(response.reason or f"HTTP {response.status_code}"))[:_MOST_WORDS]


def _words(body: Any) -> str:
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


def _permanent(sentence: str) -> ErrorResolution:
    return ErrorResolution(ResponseAction.FAIL, FailureType.system_error, sentence)
