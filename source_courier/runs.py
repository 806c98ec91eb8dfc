"""The kinds of stream of runs: a full walk, or windows of time side by side; and steps of runs."""

from __future__ import annotations

from abc import ABC
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any, ClassVar

from airbyte_cdk.models import SyncMode

from http_source.cdk import FULL_REFRESH_COMPLETE
from http_source.columns import Row
from http_source.errors import system_error
from http_source.in_order import in_order
from http_source.instants import EpochMs, format_instant
from http_source.retry import RefusedError
from http_source.stream import RowBatch
from source_courier.children import AHEAD, GONE, GoneParents
from source_courier.client import PARAMETER_REFUSALS, CursorRefusedError, Page, path_part
from source_courier.context import CourierContext
from source_courier.newest_first import INDEX_LAG, NewestFirstStream
from source_courier.paging import NextCursor, OneReply
from source_courier.progress_guard import ProgressGuard
from source_courier.stream import CourierStream, last_row

_DAY: EpochMs = 24 * 60 * 60 * 1000
# "kept 95 days", says Courier's Python SDK 9.13.0. A day more, because a day is not everywhere the
# same.
_KEPT: EpochMs = 96 * _DAY
# There are at most so many windows, of whole days in UTC: an empty one costs a request, and a bound
# that is read as a date, without its time, must not cut off a part of a day.
_MOST_WINDOWS = 32
_AT_ONCE = 8
# Bounds are sent a second wider than they are, because Courier may cut off parts of a second. A row
# that is further outside than a day shows that the filter does nothing: a bound may also be read as
# a date.
_WIDER, _OUTSIDE = 1000, _DAY
# IDs of emitted rows are remembered until two windows show that the filter works.
_PROVING_WINDOWS = 2


class _FilterIgnoredError(Exception):
    """Courier refuses the filter of windows, or does not apply it."""


@dataclass
class _Window:
    """Runs created in [lower, upper). The last window has no upper end."""

    lower: EpochMs
    upper: EpochMs | None
    guard: ProgressGuard
    cursor: str | None = None
    is_done: bool = False
    # The last row of its last page: a cursor may include the row that it names.
    last_row: Row | None = None

    def params(self) -> dict[str, str]:
        """The filter: both bounds are inclusive, says Courier's Python SDK 9.13.0."""
        params = {"start_date": format_instant(max(0, self.lower - _WIDER))}
        if self.upper is not None:
            params["end_date"] = format_instant(self.upper + _WIDER)
        return params

    def has(self, moment: EpochMs) -> bool:
        """Whether a run of this moment belongs to the window."""
        return self.lower <= moment and (self.upper is None or moment < self.upper)

    def is_far(self, moment: EpochMs) -> bool:
        """Whether a run of this moment shows that the filter is not applied."""
        if moment < self.lower - _OUTSIDE:
            return True
        return self.upper is not None and moment > self.upper + _OUTSIDE


class RunStream(NewestFirstStream, ABC):
    """Runs of journeys or automations.

    A full refresh reads the whole list: runs without `created_at` are in no window. An incremental
    sync reads windows of time, several at once, the oldest first. The state moves to the end of a
    window when that and all older ones are complete.
    """

    # A look-back of 7 days alone makes 28 windows of 6 hours.
    requests = (
        "one per page; an incremental sync: one per page of each window of time, and at most "
        f"{_MOST_WINDOWS} windows"
    )
    key = ("run_id",)
    id_keys = ("run_id",)
    paging = NextCursor
    rows_keys = ("runs",)
    page_limit = 50
    cursor_field = "created_at"

    def lookback(self) -> EpochMs:
        """See `NewestFirstStream`."""
        return self._config.runs_lookback

    def start(self) -> EpochMs | None:
        """See `NewestFirstStream`."""
        return self._config.start

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first page of a full refresh now."""
        if sync_mode is SyncMode.full_refresh:
            super().prefetch(sync_mode)

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Yield a page at a time, with the state from which a later sync continues."""
        if sync_mode is SyncMode.full_refresh or "walk" in self._state:
            yield from super().read_batches(sync_mode)
            return
        emitted: set[str] = set()
        try:
            yield from self._read_windows(emitted)
        except _FilterIgnoredError as error:
            self.logger.info(
                "Stream %s: windows of time cannot be used (%s). The list is read in one walk.",
                self.name,
                error,
            )
            for batch in super().read_batches(sync_mode):
                rows = (row for row in batch.rows if row["run_id"] not in emitted)
                yield RowBatch(rows, batch.state)

    def _windows(self, now: EpochMs) -> list[_Window]:
        lower = max(self._bound(SyncMode.incremental) or 0, now - _KEPT)
        first = lower // _DAY * _DAY
        days = -(-(now - first) // (_DAY * _MOST_WINDOWS))
        edges = [lower, *range(first + days * _DAY, now, days * _DAY)]
        return [
            _Window(edge, after, ProgressGuard(self.endpoint, self.id_keys))
            for edge, after in zip(edges, [*edges[1:], None], strict=True)
        ]

    def _read_windows(self, emitted: set[str]) -> Iterator[RowBatch]:
        now = self.context.clock.now()
        windows = self._windows(now)
        waiting = deque(windows)
        under_way: dict[Future[Page], _Window] = {}
        proving: set[EpochMs] = set()
        undated: set[str] = set()
        try:
            while waiting or under_way:
                while waiting and len(under_way) < _AT_ONCE:
                    window = waiting.popleft()
                    under_way[self._pool.submit(self._fetch, window)] = window
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    window = under_way.pop(future)
                    page = future.result()
                    moments = [self.moment(row) for row in page.rows]
                    if any(moment is not None and window.is_far(moment) for moment in moments):
                        msg = "it shows runs of another time"
                        raise _FilterIgnoredError(msg)
                    window.cursor, window.is_done = page.next_cursor, page.next_cursor is None
                    if page.next_cursor is not None:
                        window.guard.require_progress(page.rows, page.next_cursor)
                        under_way[self._pool.submit(self._fetch, window)] = window
                    rows = [
                        row
                        for row, moment in zip(page.rows, moments, strict=True)
                        if row != window.last_row
                        and (row["run_id"] not in undated if moment is None else window.has(moment))
                    ]
                    window.last_row = last_row(page)
                    # No window should show them. If each one does, they come once.
                    undated.update(row["run_id"] for row in rows if self.moment(row) is None)
                    if rows and len(proving) < _PROVING_WINDOWS:
                        proving.add(window.lower)
                        emitted.update(row["run_id"] for row in rows)
                    yield RowBatch(self.fit(rows), self._reached(windows, window))
        finally:
            for future in under_way:
                future.cancel()
        yield RowBatch((), self._at(now))

    def _fetch(self, window: _Window) -> Page:
        try:
            return self.try_page(window.cursor, window.params())
        except CursorRefusedError as error:
            raise system_error(str(error)) from None
        except RefusedError as refused:
            if refused.status in PARAMETER_REFUSALS:
                msg = f"HTTP {refused.status}: {refused.text}"
                raise _FilterIgnoredError(msg) from None
            raise self.client.explain_error(refused) from None

    def _reached(self, windows: list[_Window], window: _Window) -> dict[str, Any] | None:
        """The state behind a page; None if no further window is complete with all older ones."""
        if not window.is_done or window.upper is None:
            return None
        complete = windows[: windows.index(window) + 1]
        if not all(one.is_done for one in complete):
            return None
        while (after := windows[len(complete)]).is_done and after.upper is not None:
            complete.append(after)
        return self._at(complete[-1].upper or 0)

    def _at(self, moment: EpochMs) -> dict[str, Any]:
        # The vendor's clock is known by now. It may be behind ours.
        now = self.context.clock.now()
        return {self.cursor_field: format_instant(min(now, max(moment, self.watermark() or 0)))}


# A run in one of these states does not change any more. Courier may add states.
_FINAL = frozenset({"PROCESSED", "CANCELED", "ERROR"})
# A state holds at most so many runs that are not final. With more, all runs are read again.
_MOST_OPEN = 5000


_RunOrState = tuple[Row | None, Mapping[str, Any] | None]


class RunStepStream(CourierStream, ABC):
    """Steps of runs, in the order of their execution.

    An incremental sync reads the steps of runs that are new, not final, or were not final when they
    were last read, within the look-back for runs. The state adds the IDs of open runs to the
    parents' state: `{"run_created_at": str, "open": [id, ...]}`.
    """

    requests = (
        "one per run that is new or was not final, and those of `{parent}`; a full refresh: one "
        "per run"
    )
    parent: ClassVar[type[RunStream]]
    key = ("run_id", "ordinal")
    id_keys = ()
    paging = OneReply
    rows_keys = ("steps",)
    page_limit = None
    cursor_field = "run_created_at"

    def __init__(self, context: CourierContext) -> None:
        super().__init__(context)
        self._runs = self.parent(context)

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Nothing can be requested before the first run is known."""

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Yield the steps of one run at a time, and the state behind its page of runs."""
        is_full = sync_mode is SyncMode.full_refresh
        self._runs.state = self._parents_state()
        saved = self._state.get("open")
        # None: not known, so all runs within the look-back are read.
        open_before = frozenset(map(str, saved)) if isinstance(saved, list) else None
        is_known = open_before is not None or self._runs.watermark() is None
        # A read that goes on in the middle does not see the runs above that place again.
        open_now: list[str] = list(open_before or ()) if "walk" in self._state else []
        count = GoneParents()
        parents = self._parents(sync_mode, open_before, open_now)
        last: Mapping[str, Any] = dict(FULL_REFRESH_COMPLETE) if is_full else {}
        for (run, state), steps in in_order(self._pool, parents, self._fetch_steps, AHEAD):
            if run is None:
                last = state or last
                both = [*open_now, *(open_before or ())]
                yield RowBatch((), self._own_state(last, both, is_known=is_known))
                continue
            count.add(steps)
            yield RowBatch(self.fit(self._prepared(run, steps or [])))
        count.report(self.name, self.logger)
        yield RowBatch((), self._own_state(last, open_now, is_known=True))

    def _parents(
        self, sync_mode: SyncMode, open_before: frozenset[str] | None, open_now: list[str]
    ) -> Iterator[_RunOrState]:
        """Yield the runs whose steps are read, and each state behind the runs that it covers."""
        since = self._runs.watermark()
        for batch in self._runs.read_batches(sync_mode):
            for run in batch.rows:
                if run.get("status") not in _FINAL:
                    open_now.append(run["run_id"])
                if sync_mode is SyncMode.full_refresh or self._is_taken(run, since, open_before):
                    yield run, None
            if batch.state is not None:
                yield None, batch.state

    def _is_taken(
        self, run: Row, since: EpochMs | None, open_before: frozenset[str] | None
    ) -> bool:
        created = self._runs.moment(run)
        is_new = since is None or created is None or created >= since - INDEX_LAG
        if is_new or run.get("status") not in _FINAL:
            return True
        return open_before is None or run["run_id"] in open_before

    def _parents_state(self) -> dict[str, Any]:
        state = dict(self._state)
        if self.cursor_field in state:
            state[self._runs.cursor_field] = state.pop(self.cursor_field)
        state.pop("open", None)
        return state

    def _own_state(
        self, state: Mapping[str, Any], open_runs: list[str], *, is_known: bool
    ) -> dict[str, Any]:
        own = dict(state)
        if self._runs.cursor_field in own:
            own[self.cursor_field] = own.pop(self._runs.cursor_field)
        if self.cursor_field in own or "walk" in own:
            runs = list(dict.fromkeys(open_runs))
            own["open"] = runs if is_known and len(runs) <= _MOST_OPEN else None
        return own

    def _fetch_steps(self, item: _RunOrState) -> list[Row] | None:
        if item[0] is None:
            return []
        endpoint = self.endpoint.format(id=path_part(item[0]["run_id"]))
        try:
            return list(self.try_page(None, {}, endpoint).rows)
        except RefusedError as refused:
            if refused.status in GONE:
                return None
            raise self.client.explain_error(refused) from None

    def _prepared(self, run: Row, steps: list[Row]) -> Iterator[Row]:
        for number, step in enumerate(steps):
            created = run.get(self._runs.cursor_field)
            yield {**step, "run_id": run["run_id"], "run_created_at": created, "ordinal": number}
