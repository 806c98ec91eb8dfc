"""Decides which windows of the timeline a sync reads, and from which search. Pure.

    start            horizon (two years ago)                        cutoff   now
      |------- archive ------|== both ==|------------ search -------------|~~~~~>
                             <-  seam  ->                                  open end

Every window is half-open, [lower, upper). Each window begins where the one before it ends.

- The search does not return records that were last updated more than two years ago. The archive
  does. This horizon moves with the clock during a sync. So both are read around it, in the seam.
- A record becomes searchable some time after it is written. So an incremental sync ends at the
  cutoff, two minutes ago. The next sync begins there, and finds records that were indexed late.
- With an end date, no window goes beyond it.
- A full refresh also reads the open end. There it finds the records that changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from http_source.instants import EpochMs

_DAY = 24 * 60 * 60 * 1000

# How long after a write a record may be missing from search results. Kustomer states no figure. A
# Kustomer employee needed a delay of one minute before an update could be found (README of the
# public repository nick-johnson-kustomer/bulkUpdateKObjects, 2024). We allow for twice that.
INDEX_LAG: EpochMs = 2 * 60 * 1000

# "objects that have an updatedAt more recent than in the past 2 years": Kustomer's OpenAPI, in
# POST /v1/customers/search. The seam reaches seven days to both sides of the horizon. That covers
# leap days, an archive that is filled late (unverified), and a sync that runs for days.
HORIZON: EpochMs = 730 * _DAY
SEAM: EpochMs = 7 * _DAY


@dataclass(frozen=True)
class Window:
    """A part of the timeline, [lower, upper), and the searches that contain its records.

    `is_open` marks the open end, which is read last. Its `upper` is None, or the end date. If both
    searches are read, the normal one is read first. So a record that crosses the horizon meanwhile
    is seen twice, and not missed.
    """

    lower: EpochMs
    upper: EpochMs | None
    search: bool = True
    archive: bool = False
    is_open: bool = False


def windows(
    start: EpochMs,
    now: EpochMs,
    *,
    archive: bool = False,
    open_end: bool = False,
    end: EpochMs | None = None,
    index_lag: EpochMs = INDEX_LAG,
    horizon: EpochMs = HORIZON,
) -> Iterator[Window]:
    """Yield the windows of a sync that begins at `start`, oldest first. None if all is read.

    With an `end`, no window goes beyond it.
    """
    for window in _windows(start, now, archive, open_end, index_lag, horizon):
        if end is None:
            yield window
        elif window.lower < end:
            yield replace(window, upper=end if window.upper is None else min(window.upper, end))


def _windows(
    start: EpochMs,
    now: EpochMs,
    archive: bool,
    open_end: bool,
    index_lag: EpochMs,
    horizon: EpochMs,
) -> Iterator[Window]:
    cutoff = now - index_lag
    if archive:
        seam_begins, seam_ends = now - horizon - SEAM, now - horizon + SEAM
        if start < seam_begins:
            yield Window(start, seam_begins, search=False, archive=True)
            start = seam_begins
        if start < seam_ends:
            yield Window(start, seam_ends, search=True, archive=True)
            start = seam_ends
    if start < cutoff:
        yield Window(start, cutoff)
        start = cutoff
    if open_end:
        yield Window(start, None, is_open=True)
