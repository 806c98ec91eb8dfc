"""A limit of requests per window, as both vendors count it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

from fake_vendor.clock import http_date, iso

WindowKind = Literal["fixed", "sliding"]
ResetForm = Literal["epoch", "epoch_ms", "delta", "http_date", "iso"]


@dataclass(frozen=True)
class Verdict:
    """The answer of a limiter for one request."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: float


class Limiter:
    """Counts requests against a limit. Refused requests do not count."""

    def __init__(self) -> None:
        """Start with an empty window."""
        self._taken: deque[float] = deque()
        self._start = 0.0

    def take(
        self, now: float, limit: int, *, window_s: float, kind: WindowKind, others_per_minute: int
    ) -> Verdict:
        """Count one request made now, together with those of other clients of the same org.

        A fixed window starts with the first request after the last window ended.
        """
        others = others_per_minute / 60
        if kind == "fixed":
            if now >= self._start + window_s:
                self._start = now
                self._taken.clear()
            reset = self._start + window_s
            foreign = int(others * (now - self._start))
        else:
            while self._taken and self._taken[0] <= now - window_s:
                self._taken.popleft()
            reset = (self._taken[0] if self._taken else now) + window_s
            foreign = int(others * window_s)
        used = len(self._taken) + foreign
        if used >= limit:
            return Verdict(False, limit, 0, reset)
        self._taken.append(now)
        return Verdict(True, limit, limit - used - 1, reset)


def spell_reset(reset_s: float, now_s: float, form: ResetForm) -> str:
    """Format the moment at which a limit resets. The result is never earlier than that moment."""
    if form == "epoch_ms":
        return str(math.ceil(reset_s * 1000))
    if form == "delta":
        return str(max(0, math.ceil(reset_s - now_s)))
    if form == "http_date":
        return http_date(math.ceil(reset_s))
    if form == "iso":
        return iso(math.ceil(reset_s * 1000))
    return str(math.ceil(reset_s))
