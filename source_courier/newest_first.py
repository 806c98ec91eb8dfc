"""The kind of stream whose list shows the newest row first: full refresh and incremental."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from airbyte_cdk.models import SyncMode
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.cdk import FULL_REFRESH_COMPLETE
from http_source.columns import Row
from http_source.errors import config_error, system_error
from http_source.instants import EARLIEST, LATEST, EpochMs, format_instant, parse_instant
from http_source.retry import RefusedError
from http_source.stream import RowBatch
from source_courier.client import CursorRefusedError
from source_courier.context import CourierContext
from source_courier.stream import CourierStream
from source_courier.walk import Range, Walk

# A row may be missing from its list for "seconds, rarely a couple of minutes" after it is written:
# docs/vendors/courier.md. Several times that is read again in any case.
INDEX_LAG: EpochMs = 15 * 60 * 1000


class NewestFirstStream(CourierStream, ABC):
    """Rows of a list in order of `cursor_field`, the newest first.

    A read begins at the newest row. So the state counts the rows only when the read has reached its
    bound. Until then it holds a position: `{"cursor": str}` in a full refresh, `{"walk": {...}}`
    beside the old value in an incremental sync. walk.py reads the list.
    """

    requests = "one per page down to the bound"
    cursor_field: ClassVar[str]
    # The parameter that leaves out older rows, and the forms in which it may take a moment.
    since_parameter: ClassVar[str | None] = None
    since_forms: ClassVar[Sequence[Callable[[EpochMs], str]]] = ()
    # Whether the list's cursors are known to name a row, so that a walk may be cut into segments.
    has_row_cursors: ClassVar[bool] = False

    def __init__(self, context: CourierContext) -> None:
        super().__init__(context)
        self._prefetched: tuple[SyncMode, Walk] | None = None

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first page now, unless a position is saved."""
        if not self._saved_walk(sync_mode) and not self.requires_row:
            walk = self.walk(self._bound(sync_mode))
            walk.prefetch()
            self._prefetched = (sync_mode, walk)

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Yield a page at a time, with the state from which a later sync continues."""
        saved = self._saved_walk(sync_mode)
        bound = saved.get("bound") if "bound" in saved else self._bound(sync_mode)
        # The row that must come is fetched before the list that must have it.
        required = self.required_row(bound) if self.requires_row and not saved else None
        walk = self._take_walk(sync_mode, bound, saved)
        is_resumed = bool(saved)
        newest: EpochMs | None = saved.get("newest")
        while True:
            try:
                for rows in walk.rows():
                    newest = max(filter(None, (newest, walk.newest)), default=None)
                    if required is not None and any(row["id"] == required for row in rows):
                        required = None
                    position = walk.position()
                    # The last state is written when the whole walk is complete.
                    state = self._state_at(sync_mode, bound, newest, position) if position else None
                    yield RowBatch(self.fit(rows), state)
                break
            except CursorRefusedError as error:
                if not is_resumed:
                    raise system_error(str(error)) from None
                # A cursor may expire between two syncs. The rows of the last sync come again.
                self.logger.warning(
                    "Courier no longer accepts the cursor of the saved state (HTTP %d): "
                    "reading from the newest row again.",
                    error.status,
                )
                bound = self._bound(sync_mode)
                walk, is_resumed = self.walk(bound), False
        if required is not None:
            raise self.missing(required)
        yield RowBatch((), self._final_state(sync_mode, newest))

    def walk(
        self, bound: EpochMs | None, resume: Sequence[Mapping[str, Any]] = (), *, most: int = 0
    ) -> Walk:
        """One read of the list down to a bound. `most` limits its segments."""
        filters: list[Mapping[str, str]] = []
        if bound is not None and bound > 0 and self.since_parameter is not None:
            # A millisecond earlier, because the filter may leave out the moment itself.
            filters = [{self.since_parameter: form(bound - 1)} for form in self.since_forms]
        return Walk(
            self,
            self.context,
            Range(bound, self.parameters(), filters),
            most_segments=most or (self._config.parallel_walks if self.has_row_cursors else 1),
            resume=resume,
        )

    def parameters(self) -> Mapping[str, str]:
        """The parameters of every request. For override."""
        return {}

    # Whether a row must come, so that the read is believed.
    requires_row: bool = False

    def required_row(self, bound: EpochMs | None) -> str | None:
        """The ID of a row at or after the bound that the read must bring. For override."""
        return None

    def missing(self, ident: str) -> AirbyteTracedException:
        """The error for a read that did not bring the required row."""
        return system_error(f"Stream {self.name}: row {ident} is missing.")

    def lookback(self) -> EpochMs:
        """How far before the state an incremental sync reads again. For override."""
        return INDEX_LAG

    def start(self) -> EpochMs | None:
        """The moment before which no row is read. For override."""
        return None

    def explain(self, refused: RefusedError) -> AirbyteTracedException:
        """Return the error that explains a refusal to the user."""
        return self.client.explain_error(refused)

    def moment(self, row: Row) -> EpochMs | None:
        """The row's value of the cursor field in epoch ms; None if it has none."""
        return moment_of(row.get(self.cursor_field))

    def probe(self) -> None:
        """Fetch the first page. Raises what a sync would raise."""
        self.get_page(None, {})

    def _bound(self, sync_mode: SyncMode) -> EpochMs | None:
        saved = self.watermark() if sync_mode is SyncMode.incremental else None
        since = None
        if saved is not None:
            # A state of the future must not hide the rows before it.
            since = min(saved, self.context.clock.now()) - max(self.lookback(), INDEX_LAG)
        return max((one for one in (since, self.start()) if one is not None), default=None)

    def watermark(self) -> EpochMs | None:
        """The moment down to which the saved state counts the rows. Raises a config error."""
        return saved_moment(self.name, self.cursor_field, self._state)

    def _saved_walk(self, sync_mode: SyncMode) -> Mapping[str, Any]:
        """The position of an unfinished read of the same sync mode; empty if there is none."""
        return saved_walk(self.name, self._state, sync_mode)

    def _take_walk(
        self, sync_mode: SyncMode, bound: EpochMs | None, saved: Mapping[str, Any]
    ) -> Walk:
        prefetched, self._prefetched = self._prefetched, None
        if prefetched is not None and prefetched[0] is sync_mode and not saved:
            return prefetched[1]
        return self.walk(bound, saved.get("segments", ()))

    def _state_at(
        self,
        sync_mode: SyncMode,
        bound: EpochMs | None,
        newest: EpochMs | None,
        position: list[dict[str, Any]],
    ) -> dict[str, Any]:
        if sync_mode is SyncMode.full_refresh:
            first = {"cursor": position[0].get("cursor")}
            is_plain = len(position) == 1 and "until" not in position[0] and first["cursor"]
            return first if is_plain else first | {"segments": position}
        walk = {"bound": bound, "newest": newest, "segments": position}
        kept = {key: self._state[key] for key in (self.cursor_field,) if key in self._state}
        return kept | {"walk": walk}

    def _final_state(self, sync_mode: SyncMode, newest: EpochMs | None) -> dict[str, Any]:
        if sync_mode is SyncMode.full_refresh:
            return dict(FULL_REFRESH_COMPLETE)
        seen = (one for one in (newest, self.watermark()) if one is not None)
        # A row of the future must not hide the rows before it.
        watermark = min(max(seen, default=0), self.context.clock.now())
        return {self.cursor_field: self.state_value(watermark)}

    def state_value(self, moment: EpochMs) -> int | str:
        """A moment as the state holds it: as the rows do. For override."""
        return format_instant(moment)


def moment_of(value: Any) -> EpochMs | None:
    """A moment in epoch ms, from whole milliseconds or from a date; None for anything else."""
    if type(value) is int:
        return value
    if type(value) is str:
        try:
            return parse_instant(value)
        except ValueError:
            return None
    return None


def saved_moment(stream: str, field: str, state: Mapping[str, Any]) -> EpochMs | None:
    """The moment in a field of a saved state, or None. Raises a config error for another value."""
    saved = state.get(field)
    if saved is None:
        return None
    moment = moment_of(saved)
    if moment is None or not EARLIEST <= moment <= LATEST:
        raise config_error(
            f"The saved state of stream {stream} cannot be understood: {field} is "
            f"{saved!r:.100}. Reset the stream, or mend its state."
        )
    return moment


def saved_walk(name: str, state: Mapping[str, Any], sync_mode: SyncMode) -> Mapping[str, Any]:
    """The position of an unfinished read in a state. Raises a config error if it has another form.

    A full refresh of an older version saved `{"cursor": str}` alone.
    """
    walk: Any = state.get("walk") if sync_mode is SyncMode.incremental else None
    if sync_mode is SyncMode.full_refresh:
        cursor = state.get("cursor")
        plain = [{"cursor": cursor}] if isinstance(cursor, str) and cursor else None
        parts = state.get("segments", plain)
        walk = None if parts is None else {"segments": parts}
    if walk is None:
        return {}
    parts = walk.get("segments") if isinstance(walk, Mapping) else None
    is_whole = isinstance(walk, Mapping) and all(
        walk.get(name) is None or type(walk[name]) is int for name in ("bound", "newest", "began")
    )
    if not is_whole or not isinstance(parts, list) or not parts or not all(map(_is_part, parts)):
        raise config_error(
            f"The saved state of stream {name} cannot be understood: it does not hold the segments "
            "of an unfinished read. Reset the stream."
        )
    return dict(walk)


def _is_part(part: Any) -> bool:
    if not isinstance(part, Mapping) or not isinstance(part.get("cursor", ""), str):
        return False
    marks = part.get("until", [])
    return isinstance(marks, list) and all(
        isinstance(mark, list) and len(mark) == 2 and isinstance(mark[0], str)  # noqa: PLR2004
        for mark in marks
    )
