"""Reads a list whose newest row comes first, down to a bound, along several segments at once.

segments.py says why every row comes, and once. cuts.py decides where segments begin. This file
requests pages and keeps the order of things: a page, what follows from it, then its rows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.columns import Row
from http_source.errors import system_error
from http_source.instants import EpochMs
from http_source.retry import RefusedError
from source_courier.client import PARAMETER_REFUSALS, CursorRefusedError, Page
from source_courier.context import CourierContext
from source_courier.cuts import Cuts
from source_courier.pace import Pace
from source_courier.progress_guard import ProgressGuard
from source_courier.segments import Segment

logger = logging.getLogger("airbyte")

Params = Mapping[str, str]
# A page, or the refusal of it.
Answer = Page | CursorRefusedError | RefusedError


class Pages(Protocol):
    """The list of a walk. `try_page` raises CursorRefusedError or RefusedError for a refusal."""

    name: str
    endpoint: ClassVar[str]
    key: ClassVar[tuple[str, ...]]

    def try_page(self, cursor: str | None, params: Params) -> Page:
        """Fetch a page. Without a cursor it is the first one."""

    def explain(self, refused: RefusedError) -> AirbyteTracedException:
        """Return the error that explains a refusal to the user."""

    def moment(self, row: Row) -> EpochMs | None:
        """The moment by which the list is in order; None for a row without one."""


@dataclass(frozen=True)
class Range:
    """What is read: rows at or after `bound`, and rows without a moment.

    `params` are always sent. `filters` are forms of a filter with the same bound, the best first.
    A filter may save requests. Nothing relies on it: the rows decide.
    """

    bound: EpochMs | None = None
    params: Params = field(default_factory=dict)
    filters: Sequence[Params] = ()

    def has(self, moment: EpochMs | None) -> bool:
        """Whether a row with this moment is read."""
        return moment is None or self.bound is None or moment >= self.bound


def first_page(pages: Pages, span: Range) -> tuple[Page, Params]:
    """Fetch the first page, and choose the parameters of the walk.

    The first filter is used that is not refused, and that does not hide rows behind an empty page.
    Raises RefusedError if Courier refuses the list without a filter too.
    """
    for form in span.filters:
        params = {**span.params, **form}
        try:
            page = pages.try_page(None, params)
        except RefusedError as refused:
            if refused.status not in PARAMETER_REFUSALS:
                raise
            continue
        if page.rows:
            return page, params
        plain = pages.try_page(None, span.params)
        if not any(span.has(pages.moment(row)) for row in plain.rows):
            return plain, span.params
    return pages.try_page(None, span.params), span.params


@dataclass(frozen=True)
class _Request:
    """One request that is under way, and what to do with its answer."""

    cursor: str | None
    params: Params
    use: Callable[[_Request, Answer], Iterator[list[Row]]]
    segment: Segment | None = None


class Walk:
    """One read of a list, newest row first.

    With `most_segments` above 1, cursors are built if a proof shows that they work. `resume` is
    what `position` returned in an earlier sync, which emitted the rows above it.
    """

    def __init__(
        self,
        pages: Pages,
        context: CourierContext,
        span: Range,
        *,
        most_segments: int = 1,
        resume: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._pages = pages
        self._context = context
        self._span = span
        self._pace = Pace(most_segments)
        self._cuts = Cuts(pages.name, most_segments, span.bound)
        self._under_way: dict[Future[tuple[Answer, float]], _Request] = {}
        self._first: Future[tuple[Page, Params]] | None = None
        self._is_from_top = not resume
        # The parameters with which segments begin: those of the range, and perhaps a filter.
        self._params: Params = span.params
        self._segments = self._resumed(resume) if resume else [self._segment()]
        # The newest moment of all rows so far.
        self.newest: EpochMs | None = None

    def prefetch(self) -> None:
        """Request the first page now."""
        if self._is_from_top and self._first is None:
            self._first = self._context.pool.submit(first_page, self._pages, self._span)

    def position(self) -> list[dict[str, Any]]:
        """Where a later sync goes on: `{"cursor": str, "until": [[id, ms], ...]}` per segment.

        Without "until" a segment goes on to the end. An empty list means that nothing is left.
        """
        saved: list[dict[str, Any]] = []
        for segment in self._open():
            if segment.built is not None and not segment.marks:
                continue  # the segment before it reads this page too
            following = segment.next
            while following is not None and not following.marks:
                following = following.next
            part: dict[str, Any] = {} if segment.cursor is None else {"cursor": segment.cursor}
            saved.append(part if following is None else part | {"until": following.saved_marks()})
        return saved

    def rows(self) -> Iterator[list[Row]]:
        """Yield rows until the walk is complete. After each yield, `position` is up to date.

        Raises CursorRefusedError if Courier refuses a cursor that it sent, or an
        AirbyteTracedException.
        """
        if self._is_from_top:
            yield from self._begin()
        try:
            while self._open():
                self._request_pages()
                done, _ = wait(self._under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    request = self._under_way.pop(future)
                    answer, seconds = future.result()
                    budget = self._context.budget
                    self._pace.answered(seconds, budget.refusals if budget else 0)
                    if request.segment is None or not request.segment.is_dropped:
                        yield from request.use(request, answer)
        finally:
            for future in self._under_way:
                future.cancel()

    # Requests.

    def _open(self) -> list[Segment]:
        return [one for one in self._segments if not one.is_done and not one.is_dropped]

    def _request_pages(self) -> None:
        """Request the next page of each segment that waits for one, then pages of new segments."""
        busy = {id(request.segment) for request in self._under_way.values()}
        waiting = [one for one in self._open() if id(one) not in busy]
        for segment in waiting[: max(0, self._pace.limit - len(self._under_way))]:
            self._send(segment.cursor, segment.params, self._take_page, segment)
        free = self._pace.limit - len(self._under_way)
        while free > 0 and (cursor := self._cuts.wanted(self._open())) is not None:
            self._send(cursor, self._params, self._take_cut)
            free -= 1

    def _send(
        self,
        cursor: str | None,
        params: Params,
        use: Callable[[_Request, Answer], Iterator[list[Row]]],
        segment: Segment | None = None,
    ) -> None:
        request = _Request(cursor, params, use, segment)
        self._under_way[self._context.pool.submit(self._fetch, request)] = request

    def _fetch(self, request: _Request) -> tuple[Answer, float]:
        began = time.monotonic()
        answer: Answer
        try:
            answer = self._pages.try_page(request.cursor, request.params)
        except (CursorRefusedError, RefusedError) as refused:
            answer = refused
        return answer, time.monotonic() - began

    # Pages of segments.

    def _segment(self, **facts: Any) -> Segment:
        id_key = self._pages.key[0]
        facts = {"params": self._params} | facts
        return Segment(ProgressGuard(self._pages.endpoint, (id_key,)), id_key, **facts)

    def _resumed(self, resume: Sequence[Mapping[str, Any]]) -> list[Segment]:
        """The segments of a saved position. A segment in between only holds marks."""
        segments: list[Segment] = []
        for part in resume:
            segment = self._segment(cursor=part.get("cursor"))
            if segments:
                segments[-1].next = segment
            segments.append(segment)
            if marks := part.get("until"):
                segment.next = self._segment(is_done=True, marks=dict(marks))
                segments.append(segment.next)
        return segments

    def _begin(self) -> Iterator[list[Row]]:
        self.prefetch()
        if self._first is None:
            raise AssertionError
        try:
            page, self._params = self._first.result()
        except RefusedError as refused:
            raise self._pages.explain(refused) from None
        self._segments = [self._segment(**self._memory())]
        request = _Request(None, self._params, self._take_page, self._segments[0])
        yield from self._take_page(request, page)

    def _memory(self) -> dict[str, Any]:
        """With a filter, each segment remembers its rows: the walk may have to begin again."""
        is_filtered = self._params is not self._span.params
        return {"emitted": bytearray()} if is_filtered else {}

    def _take_page(self, request: _Request, answer: Answer) -> Iterator[list[Row]]:
        segment = request.segment
        if segment is None:
            raise AssertionError
        if not isinstance(answer, Page):
            self._lose(segment, answer)
            return
        moments = [self._pages.moment(row) for row in answer.rows]
        if not segment.is_answered([row[segment.id_key] for row in answer.rows], moments):
            self._begin_without_filter()
            return
        was_ordered = segment.is_ordered
        places = segment.take(answer.rows, moments)
        if was_ordered and not segment.is_ordered:
            logger.warning(
                "Stream %s: GET /%s does not show its newest row first. It is read to its end.",
                self._pages.name,
                self._pages.endpoint,
            )
        known = [moment for moment in moments if moment is not None]
        self.newest = max([*known, *([] if self.newest is None else [self.newest])], default=None)
        self._go_on(request, segment, answer, known)
        if not segment.is_dropped:
            self._cuts.learn(segment, answer, moments, is_alone=len(self._open()) == 1)
        # The next pages are requested before the rows of this one are emitted.
        self._request_pages()
        yield [answer.rows[place] for place in places if self._span.has(moments[place])]

    def _go_on(
        self, request: _Request, segment: Segment, page: Page, moments: Sequence[EpochMs]
    ) -> None:
        """Decide where a segment goes behind a page."""
        if segment.is_done:
            return
        is_below = bool(moments) and not self._span.has(max(moments))
        if is_below and segment.is_ordered and segment.is_descending:
            self._finish(segment)
        elif page.next_cursor is not None:
            segment.guard.require_progress(page.rows, page.next_cursor)
            segment.cursor = page.next_cursor
        elif request.params is not self._span.params:
            # The filter may hide rows at the end. The same page without it shows what follows.
            segment.repeat(request.cursor, self._span.params)
        else:
            self._finish(segment)

    def _finish(self, segment: Segment) -> None:
        """End a segment at the bound, or at the end of the list. It absorbs all that follow."""
        while segment.next is not None:
            self._require_gone(segment, segment.next)
            segment.absorb()
        segment.is_done = True

    def _require_gone(self, segment: Segment, following: Segment) -> None:
        """Raise a system error if the list ends above rows that it still shows."""
        if following.built is None:
            return  # of an earlier sync: its rows may be gone
        request = _Request(following.built, self._span.params, self._take_cut)
        answer, _ = self._fetch(request)
        if not isinstance(answer, Page):
            return
        seen = following.lead.keys() | following.marks.keys()
        still = [
            row[segment.id_key]
            for row in answer.rows
            if row[segment.id_key] in seen and segment.is_above(self._pages.moment(row))
        ]
        if still:
            raise system_error(
                f"Stream {self._pages.name}: GET /{self._pages.endpoint} ended at "
                f"{segment.position}, but it still shows row {still[0]}, which is further down. "
                "Expected an end behind the last row."
            )

    def _lose(self, segment: Segment, refused: CursorRefusedError | RefusedError) -> None:
        """Handle a refused page: the segment before takes over, or the error is raised."""
        if isinstance(refused, RefusedError):
            raise self._pages.explain(refused)
        if segment.repeated is not None:
            self._begin_without_filter()
            return
        before = self._before(segment)
        while before is not None and before.is_done and not before.pages:
            before = self._before(before)  # it only holds marks of an earlier sync
        if before is None or before.is_done:
            raise refused
        while before.next is not segment:
            before.absorb()
        before.absorb()

    def _before(self, segment: Segment) -> Segment | None:
        known = (one for one in self._segments if not one.is_dropped)
        return next((one for one in known if one.next is segment), None)

    def _begin_without_filter(self) -> None:
        """Begin anew without the filter, because its cursors mean nothing without it.

        What was emitted is left out.
        """
        logger.info(
            "Stream %s: the cursors of a filtered list are bound to the filter. Its end cannot be "
            "proved, so the list is read again without the filter.",
            self._pages.name,
        )
        self._params = self._span.params
        fresh = self._segment()
        for segment in self._segments:
            fresh.leave_out(segment.digests())
            segment.is_dropped = True
        self._cuts.forget()
        self._segments = [fresh]

    # Pages of built cursors.

    def _take_cut(self, request: _Request, answer: Answer) -> Iterator[list[Row]]:
        page = answer if isinstance(answer, Page) else None
        moments = [self._pages.moment(row) for row in page.rows] if page else []
        place = self._cuts.answered(str(request.cursor), page, moments, self._segments)
        if place is None or page is None or page.next_cursor is None:
            return
        segment = self._segment(built=request.cursor, params=request.params, emitted=bytearray())
        self._segments.insert(self._segments.index(place) + 1, segment)
        place.insert(segment)
        yield from self._take_page(
            _Request(request.cursor, request.params, self._take_page, segment), page
        )
