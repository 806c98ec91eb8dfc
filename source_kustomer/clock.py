"""The present moment, by the earlier of two clocks: this machine's and Kustomer's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from http_source.retry_after import http_date
from source_kustomer.timeline import EpochMs, parse_instant

# Clocks that are kept in time do not differ by so much.
_WRONG_CLOCK: EpochMs = 10 * 60 * 1000
# No clock that is looked after is so wrong. A sync that heeded it would leave out days.
_SENSELESS_CLOCK: EpochMs = 2 * 24 * 60 * 60 * 1000


class VendorClock:
    """The earlier of our clock and Kustomer's, as the `Date` headers of its answers tell it.

    If ours were ahead, a sync would claim to have read records that are not yet written.
    """

    def __init__(self) -> None:
        self._behind: EpochMs = 0
        self._warned = False

    def observe(self, headers: Mapping[str, str]) -> None:
        """Take note of an answer's `Date`."""
        date = http_date(headers.get("Date", ""))
        if date is not None:
            self._behind = max(0, _local() - parse_instant(date.isoformat()))

    def is_senseless(self, start: EpochMs) -> bool:
        """Whether it is days behind ours, and before the moment from which on is to be read."""
        return self._behind > _SENSELESS_CLOCK and self.now() < start

    def forget(self) -> None:
        """Go by our clock until the next answer."""
        self._behind = 0

    def now(self) -> EpochMs:
        """The present moment, never later than either clock says."""
        return _local() - self._behind

    def warn_once(self, logger: logging.Logger) -> None:
        """Say so where Kustomer's clock is so far behind ours that one of them must be wrong."""
        if self._behind > _WRONG_CLOCK and not self._warned:
            self._warned = True
            logger.warning(
                "Kustomer's clock is %d minutes behind this machine's: reading no further than it.",
                self._behind // 60_000,
            )


def _local() -> EpochMs:
    return parse_instant(datetime.now(tz=UTC).isoformat())
