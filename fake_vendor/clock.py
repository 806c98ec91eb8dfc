"""The time a vendor believes in, and the spellings of time the vendors use."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate


class Clock:
    """Real UTC until it is fixed; once fixed it moves only by `advance`."""

    def __init__(self, fixed: datetime | None = None) -> None:
        """Start running, or stand still at `fixed`."""
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
        """Jump ahead, whether running or standing still."""
        self._offset += timedelta(seconds=seconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_ms(at: datetime) -> int:
    """Return epoch milliseconds, cutting what is finer; a naive time is taken as UTC."""
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def from_ms(ms: int) -> datetime:
    """Return the UTC time of epoch milliseconds."""
    return _EPOCH + timedelta(milliseconds=ms)


def http_date(seconds: float) -> str:
    """Spell epoch seconds as HTTP headers do, cutting fractions."""
    return formatdate(seconds, usegmt=True)


def iso(ms: int) -> str:
    """Spell milliseconds as Kustomer stores times: `2018-02-12T22:56:20.546Z`."""
    seconds, rest = divmod(ms, 1000)
    t = time.gmtime(seconds)
    return f"{t[0]:04d}-{t[1]:02d}-{t[2]:02d}T{t[3]:02d}:{t[4]:02d}:{t[5]:02d}.{rest:03d}Z"
