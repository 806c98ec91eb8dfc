"""The rate limiter: requests wait here before they are sent, so that the vendor refuses none."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from http_source.cdk import APIBudget
from http_source.retry_after import reset_in

logger = logging.getLogger("airbyte")

# Vendors' windows are a minute long (https://developer.kustomer.com/docs/concepts/rate-limits).
WINDOW_SECONDS = 60.0
# A window that a header puts further away than this is taken for the longest (an absurd value).
_MAX_RESET_SECONDS = 2 * WINDOW_SECONDS
# A request that got no answer (a broken connection) counts as under way for this long.
_LOST_SECONDS = 120.0
# Answers under way together may come in any order, so a count that rises by less is an old one.
_OUT_OF_ORDER = 8
# A wait longer than this is told to the user.
LONG_WAIT_SECONDS = 5.0


@dataclass
class _Announced:
    """What the headers last said of one limit: `remaining` more requests until `resets_at`."""

    limit: int
    remaining: int
    resets_at: float
    sent_since: int = 0


@dataclass
class _Bucket:
    """The requests of one kind, which have a documented limit of their own, or none."""

    documented: int | None = None
    # Sent and not yet answered, by identity of the request; then when answers came.
    under_way: dict[int, float] = field(default_factory=dict)
    answered: deque[float] = field(default_factory=deque)
    # The size of the limit that its answers announced, and of the one that refused it last.
    announced: int | None = None
    refused: int = 0


class RateLimiter:
    """When the next request may be sent, by what was sent and what the vendor said. No threads.

    Two rules. A documented limit of n a minute: no more than n requests are under way or were
    answered less than a minute ago; counted from the answer, that holds for a vendor that counts
    in fixed or in sliding windows, whatever time requests take to arrive. An announced limit: no
    more requests than `x-ratelimit-remaining` said, less those that may not be in that figure.

    A documented limit binds once the vendor has spoken of limits at all, by header or by a 429:
    one that never does (a proxy, a test server) is not slowed down for nothing. `share` is the
    part of every limit to use, to leave the rest to the customer's other integrations.
    """

    def __init__(self, documented: Mapping[str, int], *, share: float = 1.0) -> None:
        self._buckets = {bucket: _Bucket(limit) for bucket, limit in documented.items()}
        self._share = share
        self._limits: dict[int, _Announced] = {}
        self._enforced = False
        self._reported = False

    def wait(self, bucket: str, now: float) -> float:
        """Seconds until a request of this kind may be sent; 0 is now."""
        kind = self._buckets.setdefault(bucket, _Bucket())
        while kind.answered and kind.answered[0] <= now - WINDOW_SECONDS:
            kind.answered.popleft()
        waits = [0.0]
        if kind.documented is not None and self._enforced:
            waits.append(self._documented_wait(kind, kind.documented, now))
        if kind.announced is not None:
            waits.append(self._announced_wait(self._limits[kind.announced], now))
        return max(waits)

    def _documented_wait(self, kind: _Bucket, limit: int, now: float) -> float:
        allowed = max(1, int(limit * self._share))
        for request, since in list(kind.under_way.items()):
            if since <= now - _LOST_SECONDS:
                del kind.under_way[request]
        taken = len(kind.under_way) + len(kind.answered)
        if taken < allowed:
            return 0.0
        excess = taken - allowed
        if excess < len(kind.answered):
            return kind.answered[excess] + WINDOW_SECONDS - now
        return WINDOW_SECONDS  # all under way: an answer will shorten this

    def _announced_wait(self, limit: _Announced, now: float) -> float:
        if now >= limit.resets_at:
            return 0.0
        reserve = int(limit.limit * (1 - self._share))
        return limit.resets_at - now if limit.remaining - limit.sent_since <= reserve else 0.0

    def sent(self, bucket: str, request: int, now: float) -> None:
        """A request is on its way."""
        kind = self._buckets.setdefault(bucket, _Bucket())
        kind.under_way[request] = now
        if kind.announced is not None:
            self._limits[kind.announced].sent_since += 1

    def answered(
        self, bucket: str, request: int, status: int, headers: Mapping[str, str], now: float
    ) -> None:
        """The answer to a request is in; its headers may tell of a limit."""
        kind = self._buckets.setdefault(bucket, _Bucket())
        kind.under_way.pop(request, None)
        kind.answered.append(now)
        limit = _count(headers, "x-ratelimit-limit")
        remaining = _count(headers, "x-ratelimit-remaining")
        is_refused = status == 429  # noqa: PLR2004 - the status is its own name
        if limit is not None or remaining is not None or is_refused:
            self._enforced = True
        if is_refused:
            # The request's backoff decides how long to wait, and calls `hold`.
            kind.refused = limit or 0
            return
        if remaining is None:
            return
        reset = reset_in(headers, datetime.now(tz=UTC))
        # Limits are told apart by their size: the search limit from the organisation's.
        size = limit or 0
        kind.announced = size
        told = self._limits.get(size)
        if told is not None and now < told.resets_at:
            late = told.remaining < remaining <= told.remaining + _OUT_OF_ORDER
            remaining = told.remaining if late else remaining
        if reset is not None and reset > 0:
            if reset > _MAX_RESET_SECONDS and not self._reported:
                self._reported = True
                logger.warning(
                    "The vendor says its rate limit resets in %.0f s; waiting %.0f s at most.",
                    reset,
                    _MAX_RESET_SECONDS,
                )
            resets_at = now + min(reset, _MAX_RESET_SECONDS)
        elif told is None or now >= told.resets_at or remaining > told.remaining:
            resets_at = now + WINDOW_SECONDS  # a new window, which began not after this
        else:
            resets_at = told.resets_at
        self._limits[size] = _Announced(size, remaining, resets_at, self._under_way())

    def hold(self, bucket: str, seconds: float, now: float) -> None:
        """A refusal stops all requests under the limit that was reached, for so many seconds."""
        kind = self._buckets.setdefault(bucket, _Bucket())
        kind.announced = kind.refused
        self._limits[kind.refused] = _Announced(kind.refused, 0, now + seconds, self._under_way())

    def _under_way(self) -> int:
        """Requests of all buckets that may be missing from what the vendor says remains."""
        return sum(len(bucket.under_way) for bucket in self._buckets.values())


def _count(headers: Mapping[str, str], name: str) -> int | None:
    try:
        return int(float(headers[name]))
    except (KeyError, ValueError, OverflowError):
        return None


class RateBudget:
    """One rate limiter for all threads and streams of a sync."""

    def __init__(self, documented: Mapping[str, int], *, share: float = 1.0) -> None:
        """`documented`: requests a minute by bucket, where the vendor documents a limit."""
        self._limiter = RateLimiter(documented, share=share)
        self._changed = threading.Condition()
        # Seconds that requests have waited here, all threads together.
        self.waited = 0.0

    def for_bucket(self, bucket: str, on_long_wait: Callable[[float], None]) -> APIBudget:
        """The budget as a session of the CDK takes it; `on_long_wait` gets the seconds."""
        return _BucketBudget(self, bucket, on_long_wait)

    def acquire(self, bucket: str, request: object, on_long_wait: Callable[[float], None]) -> None:
        """Block until the request may be sent."""
        began, is_told = time.monotonic(), False
        with self._changed:
            while (wait := self._limiter.wait(bucket, time.monotonic())) > 0:
                if wait > LONG_WAIT_SECONDS and not is_told:
                    is_told = True
                    on_long_wait(wait)
                self._changed.wait(wait)
            now = time.monotonic()
            self._limiter.sent(bucket, id(request), now)
            self.waited += now - began

    def settle(self, bucket: str, request: object, status: int, headers: Mapping[str, str]) -> None:
        """Take note of an answer."""
        with self._changed:
            self._limiter.answered(bucket, id(request), status, headers, time.monotonic())
            self._changed.notify_all()

    def hold(self, bucket: str, seconds: float) -> None:
        """Let all requests wait that share the limit of a refused one. Seconds from now."""
        with self._changed:
            self._limiter.hold(bucket, seconds, time.monotonic())
            self._changed.notify_all()


class _BucketBudget(APIBudget):
    """What the CDK's session calls before each request, and with each answer."""

    def __init__(
        self, budget: RateBudget, bucket: str, on_long_wait: Callable[[float], None]
    ) -> None:
        super().__init__(policies=[])
        self._budget = budget
        self._bucket = bucket
        self._on_long_wait = on_long_wait

    def acquire_call(self, request: Any, block: bool = True, timeout: float | None = None) -> None:
        self._budget.acquire(self._bucket, request, self._on_long_wait)

    def update_from_response(self, request: Any, response: Any) -> None:
        self._budget.settle(self._bucket, request, response.status_code, response.headers)
