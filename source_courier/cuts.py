"""Decides where the segments of a walk begin, once a proof shows that built cursors work. Pure.

1. The proof: two jumps to known places, as soon as there are two pages.
2. A look for the oldest row, if no bound says where it is.
3. Cuts: the segment with the most rows left is halved, whenever a request is free.

Every request here is a page at a built cursor. `wanted` names the next one, `answered` takes its
page. Each may be nonsense: segments.py makes sure that no row depends on it.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise

from http_source.instants import EpochMs
from source_courier.client import Page
from source_courier.density import DensityMap
from source_courier.row_cursor import Jump, build_cursor, names_row, proof
from source_courier.segments import Segment

logger = logging.getLogger("airbyte")

# A page that changes while it is examined makes a proof fail. So there is a second one.
_MOST_PROOFS = 2
# A walk of fewer pages is not worth a proof.
_PAGES_BEFORE_PROOF = 2
# The first look goes back four times as far as the first pages reach, but at least a minute. Each
# further look goes back four times as far as the one before: twelve looks are 4^12 times as far.
_STRIDE, _LOOKS, _LEAST_REACH = 4, 12, 60_000
# 2001: the published form has 13 digits, and Courier is younger.
_EARLIEST: EpochMs = 10**12
# A segment with fewer pages left is not cut: a cut costs about two pages.
_LEAST_PAGES = 5
# Cuts that find no row are few, because each one improves the estimate. So many per segment.
_MOST_CUTS_EACH = 16

_Moments = Sequence[EpochMs | None]


class Cuts:
    """The plan of one walk."""

    def __init__(self, stream: str, most: int, bound: EpochMs | None) -> None:
        """`most` is how many segments may be open at once. `bound` is where the walk ends."""
        self._stream = stream
        self._most = most
        self._floor = bound
        self._density = DensityMap()
        self._page_size = 1
        self._proofs_left = _MOST_PROOFS if most > 1 else 0
        self._is_proven = False
        self._wanted: deque[str] = deque()
        self._jumps: dict[str, Jump] = {}
        self._looks: dict[str, EpochMs] = {}
        self._pending: dict[str, EpochMs] = {}
        self._cuts_left = _MOST_CUTS_EACH * most

    def forget(self) -> None:
        """Build no cursor any more: the walk begins anew."""
        self._proofs_left = self._cuts_left = 0
        self._wanted.clear()
        for asked in (self._jumps, self._looks, self._pending):
            asked.clear()

    def learn(self, segment: Segment, page: Page, moments: _Moments, *, is_alone: bool) -> None:
        """Learn from a page of a segment."""
        known = [moment for moment in moments if moment is not None]
        self._density.add(known)
        self._page_size = max(self._page_size, len(page.rows))
        if (
            self._proofs_left
            and not self._is_proven
            and not self._jumps
            and is_alone
            and segment.pages >= _PAGES_BEFORE_PROOF
            and page.next_cursor is not None
            and len(known) == len(page.rows)
        ):
            self._begin_proof(page, known)

    def _begin_proof(self, page: Page, moments: Sequence[EpochMs]) -> None:
        last = page.rows[-1]["id"] if page.rows else ""
        if not page.rows or not names_row(str(page.next_cursor), moments[-1], last):
            self._proofs_left = 0
            self._tell("cursors do not have the published form")
            return
        if jumps := proof(page.rows, moments):
            self._proofs_left -= 1
            self._jumps = {jump.cursor: jump for jump in jumps}
            self._wanted.extend(self._jumps)

    def _tell(self, why: str) -> None:
        logger.info("Stream %s is read in one walk: %s.", self._stream, why)

    def wanted(self, segments: Sequence[Segment]) -> str | None:
        """Return the built cursor of the next request, or None. `segments` are the open ones."""
        if self._wanted:
            return self._wanted.popleft()
        if not self._is_proven or self._looks or not self._cuts_left:
            return None
        if len(segments) + len(self._pending) >= self._most:
            return None
        rest = max(self._rests(segments), default=None)
        if rest is None or rest[0] < _LEAST_PAGES * self._page_size:
            return None
        _, newer, older = rest
        moment = self._density.cut(newer, older, 0.5)
        if not older < moment < newer:
            return None
        self._cuts_left -= 1
        cursor = build_cursor(moment)
        self._pending[cursor] = moment
        return cursor

    def _rests(self, segments: Sequence[Segment]) -> Iterator[tuple[float, EpochMs, EpochMs]]:
        """How many rows each segment has left, and between which moments."""
        for segment in segments:
            if segment.position is None or not segment.is_ordered:
                continue
            following = segment.next
            while following is not None and following.start is None:
                following = following.next
            end = (self._floor or 0) if following is None else following.start or 0
            inside = [one for one in self._pending.values() if end < one < segment.position]
            points = [segment.position, *sorted(inside, reverse=True), end]
            for newer, older in pairwise(points):
                yield self._density.rows(newer, older), newer, older

    def answered(
        self, cursor: str, page: Page | None, moments: _Moments, segments: Sequence[Segment]
    ) -> Segment | None:
        """Take the page of a built cursor; None if it was refused.

        Returns the segment behind which a new segment begins with this page, or None.
        """
        known = [moment for moment in moments if moment is not None]
        if cursor in self._jumps:
            self._judge(cursor, page, segments)
        elif cursor in self._looks:
            self._see(self._looks.pop(cursor), page, known)
        elif cursor in self._pending:
            moment = self._pending.pop(cursor)
            if page is not None and len(known) == len(page.rows):
                return self._place(moment, page, known, segments)
        return None

    def _judge(self, cursor: str, page: Page | None, segments: Sequence[Segment]) -> None:
        jump = self._jumps.pop(cursor)
        if page is None or not jump.succeeds(page.rows):
            self._jumps.clear()
            self._wanted.clear()
            self._proofs_left = 0 if page is None else self._proofs_left
            if not self._proofs_left:
                self._tell("a built cursor does not lead where it should")
        elif not self._jumps:
            self._is_proven = True
            self._look(segments[0])

    def _look(self, segment: Segment) -> None:
        if self._floor is not None or segment.start is None or segment.position is None:
            return
        reach = max(_LEAST_REACH, _STRIDE * (segment.start - segment.position))
        for number in range(_LOOKS):
            moment = segment.position - reach * _STRIDE**number
            if moment >= _EARLIEST:
                self._looks[build_cursor(moment)] = moment
        self._wanted.extend(self._looks)

    def _see(self, moment: EpochMs, page: Page | None, known: Sequence[EpochMs]) -> None:
        self._density.add(known)
        if page is None or page.next_cursor is not None:
            return
        # The list ends here. Further looks would find nothing.
        self._floor = max(min(known, default=moment), self._floor or 0)
        for cursor in self._wanted:
            self._looks.pop(cursor, None)
        self._wanted.clear()

    def _place(
        self, moment: EpochMs, page: Page, known: Sequence[EpochMs], segments: Sequence[Segment]
    ) -> Segment | None:
        """The segment in whose part a page lies, if all of it lies there and something follows."""
        if not known:
            self._floor = max(moment, self._floor or 0)
            return None
        newest, oldest = max(known), min(known)
        if newest > moment:
            return None
        for segment in segments:
            if segment.is_done or segment.is_dropped or segment.position is None:
                continue
            following = segment.next
            while following is not None and following.start is None:
                following = following.next
            end = (self._floor or 0) if following is None else following.start or 0
            if end <= moment < segment.position:
                is_inside = newest < segment.position and (following is None or oldest > end)
                # No row lies between the cursor and its page. A gap longer than the page is one in
                # the rows. A shorter one is as dense as the page.
                if moment - newest > newest - oldest or (following is not None and newest <= end):
                    self._density.add_gap(moment, max(newest, end))
                    self._density.add(known)
                else:
                    self._density.add_span(moment, oldest, len(known))
                if following is None and page.next_cursor is None:
                    self._floor = max(oldest, end)
                return segment if is_inside and page.next_cursor is not None else None
        return None
