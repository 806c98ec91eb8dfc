"""Computes the wait before a retry: headers, attempt and clock in, seconds out. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Vendors write numbers of three kinds. The size of a number decides on its kind. Below this it
# counts seconds from now (three years: no vendor asks for more) ...
_LARGEST_DELTA_SECONDS = 1e8
# ... below this it is a moment in epoch seconds (the year 5138), and above in epoch milliseconds.
_LARGEST_EPOCH_SECONDS = 1e11

# Exponential backoff: 1 s, 2 s, 4 s, ... up to this much for one wait. Kustomer's and Courier's
# windows are 60 s long (https://developer.kustomer.com/docs/concepts/rate-limits).
MAX_BACKOFF_SECONDS = 60.0


def vendor_now(headers: Mapping[str, str], now: datetime) -> datetime:
    """Return the vendor's time, from its `Date` header, or `now` if the header is missing."""
    return http_date(headers.get("Date", "")) or now


def http_date(text: str) -> datetime | None:
    """Parse an HTTP date (RFC 9110, 5.6.7) into UTC. Returns None for any other text."""
    try:
        parsed = parsedate_to_datetime(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def seconds_until(value: str, now: datetime) -> float | None:
    """Return the seconds from `now` to the moment in a rate-limit header. Negative if it is past.

    Reads seconds from now, epoch seconds, epoch milliseconds, an HTTP date and an ISO 8601 date.
    Returns None for anything else: a header that cannot be read is ignored.
    """
    value = value.strip()
    try:
        number = float(value)
    except ValueError:
        instant = http_date(value) or _iso_date(value)
        return None if instant is None else (instant - now).total_seconds()
    if not math.isfinite(number):
        return None
    if abs(number) < _LARGEST_DELTA_SECONDS:
        return number
    epoch = number if number < _LARGEST_EPOCH_SECONDS else number / 1000
    return epoch - now.timestamp()


def _iso_date(value: str) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed


def reset_in(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds until the rate-limit window resets, or None if no header says it.

    Kustomer sends `x-ratelimit-reset` (https://developer.kustomer.com/docs/concepts/rate-limits).
    Courier's limited endpoints send `RateLimit-Reset`.
    """
    clock = vendor_now(headers, now)
    for name in ("x-ratelimit-reset", "ratelimit-reset"):
        if name in headers:
            return seconds_until(headers[name], clock)
    return None


def wait_hint(status: int | None, headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that the vendor asks us to wait, or None if it does not ask.

    `Retry-After` (and Courier's `retry-after-ms`) counts on every status. The reset of the window
    counts on 429 only: Kustomer also sends it with good answers, which need no wait.
    """
    clock = vendor_now(headers, now)
    hints = []
    if "retry-after-ms" in headers:
        milliseconds = seconds_until(headers["retry-after-ms"], clock)
        hints.append(None if milliseconds is None else milliseconds / 1000)
    if "retry-after" in headers:
        hints.append(seconds_until(headers["retry-after"], clock))
    if status == 429:  # noqa: PLR2004 - the status is its own name
        hints.append(reset_in(headers, now))
    return next((hint for hint in hints if hint is not None and hint > 0), None)


def backoff_ceiling(attempt: int) -> float:
    """The longest exponential wait after the given failed attempt (the first is 1), in seconds."""
    return min(MAX_BACKOFF_SECONDS, 2.0 ** (min(attempt, 16) - 1))
