"""Moments as whole milliseconds since 1970, UTC: the precision that both vendors store. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# Finer digits are cut off.
EpochMs = int

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# The range of moments with a year of four digits, which is the format of both vendors.
EARLIEST: EpochMs = -62_135_596_800_000  # 0001-01-01T00:00:00.000Z
LATEST: EpochMs = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


def parse_instant(text: str) -> EpochMs:
    """Parse an ISO 8601 date or timestamp. The default zone is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def format_instant(instant: EpochMs) -> str:
    """Format a moment as both vendors write and take it: `2024-01-31T23:59:59.123Z`."""
    moment = _EPOCH + instant * _MILLISECOND
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
