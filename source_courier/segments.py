"""The segments of a walk: each follows the vendor's own cursors until it meets the next one. Pure.

A list shows the newest row first. A walk along its cursors is a chain: exact, but one page at a
time. Several segments share the work:

    newest                                                             oldest
      |== segment 0 ==>        |== segment 1 ==>        |== segment 2 ==>  |
                      meets    ^                meets   ^             end, or bound

Segment 0 begins at the first page. Each other segment begins with one built cursor. After its first
request it follows the cursors that the vendor sends. What a built cursor means is not documented,
so no row depends on it:

- A segment ends when it meets a row of the next segment that came along a cursor of the vendor:
  from there on, the next segment is an ordinary chain. Its first page does not count.
- A segment that passes the next one without meeting it absorbs it: it goes on along its own cursors
  and leaves out the rows that were already emitted.
- So segment 0 alone is the complete chain, whatever the others are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from http_source.columns import Row
from http_source.instants import EpochMs
from source_courier.progress_guard import ProgressGuard

# How many rows of a segment are remembered for the segment before it. It meets one of them, even if
# most of them were archived meanwhile.
_MOST_MARKS = 1000
# A state holds so many of them for each segment. One of them should still be listed when a sync is
# resumed.
_SAVED_MARKS = 5

# The IDs of rows and their moments; None for a row without a moment.
Marks = Mapping[str, EpochMs | None]


def digest(ident: str) -> bytes:
    """A short form of an ID, to remember many of them."""
    return blake2b(ident.encode(), digest_size=16).digest()


@dataclass
class Segment:
    """A part of a walk. `cursor` is that of its next page; None is the first page of the list."""

    guard: ProgressGuard
    id_key: str = "id"
    cursor: str | None = None
    # The parameters of its requests.
    params: Mapping[str, str] = field(default_factory=dict)
    # The built cursor with which it began; None for the first segment and for a resumed one.
    built: str | None = None
    next: Segment | None = None
    is_done: bool = False
    is_dropped: bool = False
    # Its first row's moment, and the moment down to which it was read.
    start: EpochMs | None = None
    position: EpochMs | None = None
    # The rows of its first page if that came by a built cursor, and rows of the pages behind it.
    lead: dict[str, EpochMs | None] = field(default_factory=dict)
    marks: dict[str, EpochMs | None] = field(default_factory=dict)
    # Digests of the rows that it emitted. None if no other segment can come to read them again.
    emitted: bytearray | None = None
    # Digests of rows that absorbed segments emitted.
    _known: set[bytes] = field(default_factory=set)
    # The IDs of its last page: a cursor may include the row that it names.
    _last_ids: frozenset[str] = frozenset()
    # The newest moment of its last page. It must not rise.
    _newest: EpochMs | None = None
    is_ordered: bool = True
    # Whether some row was older than one before it: until then, nothing shows the order.
    is_descending: bool = False
    pages: int = 0
    # The IDs of a page that is fetched once more; None if none is.
    repeated: frozenset[str] | None = None

    def take(self, rows: Sequence[Row], moments: Sequence[EpochMs | None]) -> list[int]:
        """Note a page and return the places of the rows to emit, in order.

        Sets `is_done` if the page meets the next segment. `moments` are those of the rows.
        """
        known = [moment for moment in moments if moment is not None]
        if known:
            newest = max(known)
            if self._newest is not None:
                self.is_ordered = self.is_ordered and newest <= self._newest
                self.is_descending = self.is_descending or newest < self._newest
            self.is_descending = self.is_descending or known[0] > known[-1]
            self._newest = newest
            self.start = newest if self.start is None else self.start
            self.position = min(known)
        ids = [row[self.id_key] for row in rows]
        self._absorb_what_this_passes(dict(zip(ids, moments, strict=True)))
        places = list(self._places(rows, moments))
        self._last_ids = frozenset(row[self.id_key] for row in rows)
        self.repeated = None
        remembered = self.lead if self.built is not None and not self.pages else self.marks
        if remembered is self.lead or len(self.marks) < _MOST_MARKS:
            pairs = zip(rows, moments, strict=True)
            remembered.update((row[self.id_key], moment) for row, moment in pairs)
        if self.emitted is not None:
            for place in places:
                self.emitted += digest(rows[place][self.id_key])
        self.pages += 1
        return places

    def _places(self, rows: Sequence[Row], moments: Sequence[EpochMs | None]) -> Iterator[int]:
        following = self.next
        for place, (row, moment) in enumerate(zip(rows, moments, strict=True)):
            ident = row[self.id_key]
            if ident in self._last_ids:
                continue
            if following is not None and ident in following.marks:
                self.is_done = True
                self._forget_what_was_met()
                return
            # The page of a built cursor may leave out rows. Segments further down may have them.
            if following is not None and following.reaches(moment) and following.has_read(ident):
                continue
            if self._known and digest(ident) in self._known:
                continue
            yield place

    def reaches(self, moment: EpochMs | None) -> bool:
        """Whether a row of this moment may belong to this segment or to one behind it."""
        return moment is None or self.start is None or moment <= self.start

    def has_read(self, ident: str) -> bool:
        """Whether this segment or one behind it has read a row, or leaves it out."""
        if ident in self.lead or ident in self.marks:
            return True
        if self._known and digest(ident) in self._known:
            return True
        return self.next is not None and self.next.has_read(ident)

    def _forget_what_was_met(self) -> None:
        """Forget what the next segments emitted, if no segment can absorb them any more.

        A segment that met the next one may itself be absorbed by the one before it. Then that one
        may pass the next one too, and must know what it emitted.
        """
        one = self
        while one.is_done and one.emitted is None and one.next is not None:
            one = one.next
            one.emitted = None

    def _absorb_what_this_passes(self, rows: Mapping[str, EpochMs | None]) -> None:
        """Absorb following segments that this page shows to be of no use.

        That is a segment without marks whose first page is met, and a segment without a mark on the
        page although a row of the page lies behind its marks. Its next page would show that row
        too.
        """
        while self.next is not None:
            following = self.next
            if not following.marks.keys().isdisjoint(rows):
                return
            # Before a segment has marks, nothing says that its cursors lead where it claims.
            is_reached = not following.marks and not following.lead.keys().isdisjoint(rows)
            if not is_reached and not following.is_passed_by(rows):
                return
            self.absorb()

    def is_passed_by(self, rows: Mapping[str, EpochMs | None]) -> bool:
        """Whether a row of a page without marks lies behind all marks.

        Marks of an earlier sync are a few of many. So a row of the same moment may lie before them.
        """
        marked = [one for one in (self.marks or self.lead).values() if one is not None]
        others = [
            moment
            for ident, moment in rows.items()
            if moment is not None and ident not in self.lead
        ]
        if not marked or not others:
            return False
        return min(others) < min(marked) + (1 if self.pages else 0)

    def absorb(self) -> None:
        """Take over the part of the next segment, and leave out what it emitted."""
        following = self.next
        if following is None:
            return
        self._known |= following.digests()
        following.is_dropped = True
        self.next = following.next

    def digests(self) -> set[bytes]:
        """The digests of all rows that the segment emitted or left out for another one."""
        emitted = bytes(self.emitted or b"")
        return {emitted[at : at + 16] for at in range(0, len(emitted), 16)} | self._known

    def is_above(self, moment: EpochMs | None) -> bool:
        """Whether a moment is further down than all rows that this one read."""
        return moment is None or self.position is None or moment < self.position

    def insert(self, following: Segment) -> None:
        """Put a new segment behind this one. Its rows may be ones that this one leaves out."""
        following.leave_out(self._known)
        following.next, self.next = self.next, following

    def leave_out(self, digests: set[bytes]) -> None:
        """Emit none of these rows."""
        self._known |= digests

    def repeat(self, cursor: str | None, params: Mapping[str, str]) -> None:
        """Fetch the last page once more, with other parameters. Its rows are not emitted again.

        A row that arrived meanwhile may stand above them.
        """
        self.cursor, self.params, self._newest = cursor, params, None
        self.repeated = self._last_ids

    def is_answered(self, idents: Sequence[str], moments: Sequence[EpochMs | None]) -> bool:
        """Whether a page is the repeated one: the cursor means the same with other parameters.

        A page without rows is known by its place: nothing on it is newer than the page before.
        """
        if self.repeated is None or self.position is None:
            return True
        if self.repeated:
            return not self.repeated.isdisjoint(idents)
        return all(one is None or one <= self.position for one in moments)

    def saved_marks(self) -> list[list[str | EpochMs | None]]:
        """The marks as a state holds them."""
        step = max(1, len(self.marks) // _SAVED_MARKS)
        return [list(mark) for mark in list(self.marks.items())[::step][:_SAVED_MARKS]]
