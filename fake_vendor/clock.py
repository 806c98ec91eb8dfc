"""The clock of a vendor, and the time formats that the vendors use."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate


class Clock:
    """Shows real UTC until it is fixed. After that, only `advance` moves it."""

    def __init__(self, fixed: datetime | None = None) -> None:
        """Start to run, or stand still at `fixed`."""
        self._fixed = fixed
        self._offset = timedelta()

    def now(self) -> datetime:
        """Return the time."""
        return (self._fixed or datetime.now(UTC)) + self._offset

    def seconds(self) -> float:
        """Return the time as epoch seconds."""
        return self.now().timestamp()

    def ms(self) -> int:
        """Return the time as epoch milliseconds."""
        return to_ms(self.now())

    def fix(self, at: datetime) -> None:
        """Stand still at `at`."""
        self._fixed, self._offset = at, timedelta()

    def advance(self, seconds: float) -> None:
        """Jump ahead. A running clock runs on, and a fixed clock stays fixed."""
        self._offset += timedelta(seconds=seconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(at: datetime) -> int:
    """Return epoch milliseconds. Finer digits are cut off. A naive time counts as UTC."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """Return the UTC time of epoch milliseconds."""
    return _EPOCH + timedelta(milliseconds=ms)


def http_date(seconds: float) -> str:
    """Format epoch seconds as in HTTP headers. Fractions are cut off."""
    return formatdate(seconds, usegmt=True)


def iso(ms: int) -> str:
    """Format epoch milliseconds as Kustomer stores times: `2018-02-12T22:56:20.546Z`."""
    seconds, rest = divmod(ms, 1000)
    t = time.gmtime(seconds)
    return f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}T{t[3]:02d}:{t[4]:02d}:{t[5]:02d}.{rest:03d}Z"
