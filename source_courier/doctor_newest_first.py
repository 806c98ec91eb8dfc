"""The part of Courier's doctor that looks at lists with the newest row first, besides messages.

These are the runs and the log of preferences. Reads of them stop early, or ask for a span of time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from http_source.columns import Row
from http_source.doctor import Assumption, Check
from http_source.instants import EpochMs, format_instant
from source_courier.context import CourierContext
from source_courier.doctor_client import DoctorClient, ListPage, lacking
from source_courier.doctor_lists import Lists
from source_courier.newest_first import NewestFirstStream
from source_courier.runs import RunStream
from source_courier.streams import STREAMS, Messages

# One moment before the lower bound, it, one between, the upper bound, and one behind it.
_LEAST_MOMENTS = 5


def newest_first_checks(
    client: DoctorClient, context: CourierContext, lists: Lists
) -> Iterator[Check]:
    """The lines of each list."""
    for kind in STREAMS:
        if issubclass(kind, NewestFirstStream) and kind is not Messages:
            yield from _NewestFirst(client, kind(context), lists).checks()


class _NewestFirst:
    """Asks for the two newest pages of one list, and for a span of time that lies within them."""

    def __init__(self, client: DoctorClient, stream: NewestFirstStream, lists: Lists) -> None:
        self._client = client
        self._stream = stream
        self._pages = [lists.first_page(stream)]
        if cursor := self._pages[0].cursor:
            self._pages.append(client.rows(stream, {"cursor": cursor}))
        self._known = {
            ident: at for page in self._pages for ident, at in self._moments(page).items()
        }
        # The different moments of the first page, ascending. A span of them fits on one page.
        self._steps = sorted(set(self._moments(self._pages[0]).values()))

    def checks(self) -> Iterator[Check]:
        """All lines of the list."""
        yield self._check_order()
        if self._stream.since_parameter:
            yield from self._check_since(self._stream.since_parameter)
        if isinstance(self._stream, RunStream):
            yield from self._check_window()

    def _moments(self, page: ListPage) -> dict[str, EpochMs]:
        """The moments of rows by ID. A row without a moment is left out."""
        moments = ((self._id(row), self._stream.moment(row)) for row in page.rows)
        return {ident: at for ident, at in moments if at is not None}

    def _id(self, row: Row) -> str:
        return str(row[self._stream.key[0]])

    def _why_few(self) -> str:
        problem = next((page.problem for page in self._pages if page.problem), "")
        pages = "1 page" if len(self._pages) == 1 else f"{len(self._pages)} pages"
        return problem or f"{len(self._known)} rows on {pages}"

    def _check_order(self) -> Check:
        """A read stops at a page that is older than its bound."""
        assumption = Assumption(
            f"order of {self._stream.name}",
            f"by {self._stream.cursor_field}, no page is newer than the one before it",
            exactness=True,
        )
        moments = [list(self._moments(page).values()) for page in self._pages]
        if len(moments) < 2 or not all(moments):  # noqa: PLR2004 - two pages
            return assumption.unseen(self._why_few())
        rises = sum(max(later) > max(earlier) for earlier, later in pairwise(moments))
        rows = sum(later > earlier for page in moments for earlier, later in pairwise(page))
        return assumption.judged(
            not rises,
            f"{rises} of {len(moments)} pages, {rows} of {len(self._known)} rows out of order",
        )

    def _check_since(self, parameter: str) -> Iterator[Check]:
        name = f"{self._stream.name} by {parameter}"
        span = Assumption(name, "no row before that moment")
        ends = Assumption(f"bound of {name}", "the row at that moment is shown")
        whole = Assumption(f"nothing hidden in {name}", "each known row is shown", exactness=True)
        if len(self._steps) < _LEAST_MOMENTS:
            for assumption in (span, ends, whole):
                yield assumption.unseen(self._why_few())
            return
        bound = self._steps[len(self._steps) // 2]
        for form in self._stream.since_forms:
            page = self._client.rows(self._stream, {parameter: form(bound)})
            yield from self._check_span(span, ends, whole, page, (bound, None))

    def _check_window(self) -> Iterator[Check]:
        """Both bounds are inclusive, says Courier's Python SDK 9.13.0."""
        name = f"{self._stream.name} by start_date and end_date"
        span = Assumption(name, "no run outside")
        ends = Assumption(f"bounds of {name}", "the runs at both bounds are shown")
        whole = Assumption(f"nothing hidden in {name}", "each known run is shown", exactness=True)
        undated = Assumption(
            f"{self._stream.name} without {self._stream.cursor_field}",
            "in the whole list alone, not in a span of time",
        )
        if len(self._steps) < _LEAST_MOMENTS:
            for assumption in (span, ends, whole, undated):
                yield assumption.unseen(self._why_few())
            return
        lower, upper = self._steps[1], self._steps[-2]
        params = {"start_date": format_instant(lower), "end_date": format_instant(upper)}
        page = self._client.rows(self._stream, params)
        yield from self._check_span(span, ends, whole, page, (lower, upper))
        count = sum(map(self._count_undated, self._pages))
        if page.page is None or not count:
            yield undated.unseen(page.problem or f"none among {len(self._known)} runs")
            return
        shown = self._count_undated(page)
        yield undated.judged(not shown, f"{count} in the list, {shown} in the span")

    def _count_undated(self, page: ListPage) -> int:
        return len(page.rows) - len(self._moments(page))

    def _check_span(
        self,
        span: Assumption,
        ends: Assumption,
        whole: Assumption,
        page: ListPage,
        bounds: tuple[EpochMs, EpochMs | None],
    ) -> Iterator[Check]:
        """The lines of one answer about a span of time, which the known rows cover."""
        if (problem := page.judged_problem(span)) is not None:
            yield problem
            for assumption in (ends, whole):
                yield assumption.unseen(page.problem)
            return
        lower, upper = bounds
        shown = self._moments(page)
        outside = sum(at < lower or (upper is not None and at > upper) for at in shown.values())
        yield span.judged(not outside, f"{outside} of {len(page.rows)} rows outside")
        at_ends = [ident for ident, at in self._known.items() if at in bounds]
        is_cut = page.cursor is not None
        good = sum(ident in shown for ident in at_ends)
        if is_cut and good < len(at_ends):
            # They may be on a later page.
            yield ends.unseen("the answer goes on")
        else:
            yield ends.judged(good == len(at_ends), f"{good} of {len(at_ends)} rows are shown")
        lost = lacking(self._known, shown, lower=lower, upper=upper, is_last=not is_cut)
        yield whole.judged(not lost, f"{lost} of {len(self._known)} known rows are lacking")
