"""The current time, by the earlier of two clocks: this machine's and the vendor's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from http_source.instants import EpochMs, parse_instant
from http_source.retry_after import http_date

# Two synchronised clocks never differ by more than this.
_WRONG_CLOCK: EpochMs = 10 * 60 * 1000
# A clock that is behind by more than this is not used: the sync would leave out days.
_SENSELESS_CLOCK: EpochMs = 2 * 24 * 60 * 60 * 1000


class VendorClock:
    """The earlier of our clock and the vendor's, which is in the `Date` header of answers.

    With a fast clock, a state would claim that records were read which are not written yet.
    """

    def __init__(self, vendor: str) -> None:
        """`vendor` is the name of the vendor, for the log."""
        self._vendor = vendor
        self._behind: EpochMs = 0
        self._warned = False

    def observe(self, headers: Mapping[str, str]) -> None:
        """Compare the `Date` header of an answer with our clock."""
        date = http_date(headers.get("Date", ""))
        if date is not None:
            self._behind = max(0, _local() - parse_instant(date.isoformat()))

    def is_senseless(self, start: EpochMs) -> bool:
        """Whether the vendor's clock is days behind ours, and before the start of the read."""
        return self._behind > _SENSELESS_CLOCK and self.now() < start

    def forget(self) -> None:
        """Use our clock alone until the next answer."""
        self._behind = 0

    def now(self) -> EpochMs:
        """The current time in epoch ms. It is not later than either clock."""
        return _local() - self._behind

    def warn_once(self, logger: logging.Logger) -> None:
        """Warn if the vendor's clock is so far behind ours that one of them must be wrong."""
        if self._behind > _WRONG_CLOCK and not self._warned:
            self._warned = True
            logger.warning(
                "%s's clock is %d minutes behind this machine's. This sync reads only up to "
                "%s's time.",
                self._vendor,
                self._behind // 60_000,
                self._vendor,
            )


def _local() -> EpochMs:
    return parse_instant(datetime.now(tz=UTC).isoformat())
