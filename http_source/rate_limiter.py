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
# A reset that is further away than this is not plausible. It is cut to this.
_MAX_RESET_SECONDS = 2 * WINDOW_SECONDS
# A request without an answer (a broken connection) counts as under way for this long.
_LOST_SECONDS = 120.0
# Answers to parallel requests may arrive in any order. So if `remaining` rises by this or less, the
# value is an old one.
_OUT_OF_ORDER = 8
# The user is told about a wait that is longer than this.
LONG_WAIT_SECONDS = 5.0


@dataclass
class _Announced:
    """What the headers last said about one limit: `remaining` more requests until `resets_at`."""

    limit: int
    remaining: int
    resets_at: float
    sent_since: int = 0


@dataclass
class _Bucket:
    """The requests of one kind. They may have a documented limit of their own."""

    documented: int | None = None
    # Requests without an answer yet: id() of the request -> when it was sent. Then the times at
    # which answers arrived.
    under_way: dict[int, float] = field(default_factory=dict)
    answered: deque[float] = field(default_factory=deque)
    # The size of the limit that the last answer announced, and of the limit behind the last 429.
    announced: int | None = None
    refused: int = 0


class RateLimiter:
    """Decides when the next request may be sent. It starts no threads and reads no clock.

    It has two rules:

    - A documented limit of n a minute: at most n requests are under way or were answered less than
      a minute ago. The minute begins at the answer. So the rule is safe for fixed and for sliding
      windows, no matter how long requests take to arrive.
    - An announced limit: no more requests than `x-ratelimit-remaining` said, minus the requests
      that this figure may not include yet.

    A documented limit binds only after the vendor has sent a limit header or a 429. So a server
    without limits (a proxy, a test server) is not slowed down. `share` is the part of every limit
    that we use. It leaves the rest to the customer's other integrations.
    """

    def __init__(self, documented: Mapping[str, int], *, share: float = 1.0) -> None:
        self._buckets = {bucket: _Bucket(limit) for bucket, limit in documented.items()}
        self._share = share
        self._limits: dict[int, _Announced] = {}
        self._enforced = False
        self._reported = False

    def wait(self, bucket: str, now: float) -> float:
        """Seconds until a request of this bucket may be sent. 0 means now."""
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
        return WINDOW_SECONDS  # all are under way: an answer will shorten this wait

    def _announced_wait(self, limit: _Announced, now: float) -> float:
        if now >= limit.resets_at:
            return 0.0
        reserve = int(limit.limit * (1 - self._share))
        return limit.resets_at - now if limit.remaining - limit.sent_since <= reserve else 0.0

    def sent(self, bucket: str, request: int, now: float) -> None:
        """Note that a request is sent. `request` is its id()."""
        kind = self._buckets.setdefault(bucket, _Bucket())
        kind.under_way[request] = now
        if kind.announced is not None:
            self._limits[kind.announced].sent_since += 1

    def answered(
        self, bucket: str, request: int, status: int, headers: Mapping[str, str], now: float
    ) -> None:
        """Note that a request was answered. The headers may announce a limit."""
        kind = self._buckets.setdefault(bucket, _Bucket())
        kind.under_way.pop(request, None)
        kind.answered.append(now)
        limit = _count(headers, "ratelimit-limit")
        remaining = _count(headers, "ratelimit-remaining")
        is_refused = status == 429  # noqa: PLR2004 - the status is its own name
        if limit is not None or remaining is not None or is_refused:
            self._enforced = True
        if is_refused:
            # The backoff of the request decides how long to wait, and then calls `hold`.
            kind.refused = limit or 0
            return
        if remaining is None:
            return
        reset = reset_in(headers, datetime.now(tz=UTC))
        # A limit is identified by its size. That separates the search limit from the
        # organisation's.
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
            resets_at = now + WINDOW_SECONDS  # a new window: it began now or earlier
        else:
            resets_at = told.resets_at
        self._limits[size] = _Announced(size, remaining, resets_at, self._under_way())

    def hold(self, bucket: str, seconds: float, now: float) -> None:
        """Stop all requests that share the limit of a refused request, for `seconds` seconds."""
        kind = self._buckets.setdefault(bucket, _Bucket())
        kind.announced = kind.refused
        self._limits[kind.refused] = _Announced(kind.refused, 0, now + seconds, self._under_way())

    def _under_way(self) -> int:
        """Count the requests of all buckets that the vendor's `remaining` may not include yet."""
        return sum(len(bucket.under_way) for bucket in self._buckets.values())


def _count(headers: Mapping[str, str], name: str) -> int | None:
    """Read a header: Kustomer's with the prefix `x-`, Courier's limited endpoints' without."""
    for spelling in (f"x-{name}", name):
        try:
            return int(float(headers[spelling]))
        except (KeyError, ValueError, OverflowError):
            continue
    return None


class RateBudget:
    """One rate limiter for all threads and streams of a sync."""

    def __init__(self, documented: Mapping[str, int], *, share: float = 1.0) -> None:
        """`documented` maps a bucket to its documented limit in requests a minute."""
        self._limiter = RateLimiter(documented, share=share)
        self._changed = threading.Condition()
        # The seconds that all threads together have waited here, and how many answers were 429.
        self.waited = 0.0
        self.refusals = 0

    def for_bucket(self, bucket: str, on_long_wait: Callable[[float], None]) -> APIBudget:
        """Return the budget for a CDK session. `on_long_wait` gets the seconds of a long wait."""
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
        """Note an answer. It may let other requests go."""
        with self._changed:
            self.refusals += status == 429  # noqa: PLR2004 - the status is its own name
            self._limiter.answered(bucket, id(request), status, headers, time.monotonic())
            self._changed.notify_all()

    def hold(self, bucket: str, seconds: float) -> None:
        """Stop all requests that share the limit of a refused one, for `seconds` from now."""
        with self._changed:
            self._limiter.hold(bucket, seconds, time.monotonic())
            self._changed.notify_all()


class _BucketBudget(APIBudget):
    """The CDK's session calls this before each request and with each answer."""

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
