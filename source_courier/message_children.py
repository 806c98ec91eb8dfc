"""The kind of stream whose rows are read for each message: its details, history and output."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from airbyte_cdk.models import SyncMode

from http_source.cdk import FULL_REFRESH_COMPLETE
from http_source.columns import Row
from http_source.errors import system_error
from http_source.in_order import in_order
from http_source.instants import EpochMs
from http_source.retry import RefusedError
from http_source.stream import RowBatch
from source_courier.children import AHEAD, GONE, LEAST_GONE, GoneParents
from source_courier.client import CursorRefusedError, path_part
from source_courier.context import CourierContext
from source_courier.newest_first import (
    INDEX_LAG,
    NewestFirstStream,
    moment_of,
    saved_moment,
    saved_walk,
)
from source_courier.parents import shared_pages
from source_courier.stream import CourierStream

# A provider may try for 72 hours, and a delivery is tracked as long: docs/vendors/courier.md.
_STATUS_TIME: EpochMs = 72 * 60 * 60 * 1000
# A message in one of these states got it at the time of one of the stamps, or when it was enqueued.
# Any other state may come later without a stamp.
_STAMPED = frozenset({"ENQUEUED", "SENT", "DELIVERED", "OPENED", "CLICKED"})
_STAMPS = ("enqueued", "sent", "delivered", "opened", "clicked")
_SHARED = "messages of children"


@dataclass(frozen=True)
class _Page:
    """Parents of one page, `[id, enqueued, changed, is_stamped]` each, and where the walk is."""

    parents: list[list[Any]]
    position: list[dict[str, Any]]


class MessageChildStream(CourierStream, ABC):
    """Rows of `GET /<endpoint>`, in which `{id}` is a message, for each message.

    An incremental sync takes the messages within the look-back that are new or changed since the
    last sync, as their rows in the list tell: a new stamp, or a status that comes without a stamp
    and at most 72 hours after the message. The state holds the newest message and the time of the
    last sync. Within a read it also holds the position in the list of messages.
    """

    requests = (
        "one per new or changed message, and the pages of `{parent}` once for all its children; a "
        "full refresh: one per message"
    )
    parent: ClassVar[type[NewestFirstStream]]
    # Whether it is usual that no message has rows yet.
    may_all_be_missing: ClassVar[bool] = False
    cursor_field: ClassVar[str]
    page_limit = None

    def __init__(self, context: CourierContext) -> None:
        super().__init__(context)
        self._messages = self.parent(context)
        context.message_children.append(self)

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Nothing can be requested before the first message is known."""

    @abstractmethod
    def fetch(self, message: str, endpoint: str) -> list[Row]:
        """Fetch the rows of a message. Raises RefusedError."""

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Yield the rows of one message at a time; behind a page of messages, with its state."""
        saved = saved_walk(self.name, self._state, sync_mode)
        count = GoneParents(least=math.inf if self.may_all_be_missing else LEAST_GONE)
        newest: EpochMs = saved.get("newest") or 0
        since = None if sync_mode is SyncMode.full_refresh else self._since()
        bound = saved["bound"] if "bound" in saved else self.bound(sync_mode)
        # What changes from here on is read by the next sync.
        began: EpochMs = saved.get("began") or self.context.clock.now()
        pages = self._pages(saved, bound)

        def parents() -> Iterator[tuple[list[Any], dict[str, Any] | None]]:
            nonlocal newest
            for page in pages:
                newest = max([newest, *(one[1] for one in page.parents if one[1] is not None)])
                taken = [one for one in page.parents if self._is_taken(one, bound, since)]
                state = self._state_at(sync_mode, bound, newest, began, page.position)
                for number, parent in enumerate(taken, 1):
                    yield parent, state if number == len(taken) else None

        def fetch(item: tuple[list[Any], dict[str, Any] | None]) -> list[Row] | None:
            return self._fetch(item[0][0])

        for (parent, state), rows in in_order(self._pool, parents(), fetch, AHEAD):
            count.add(rows)
            yield RowBatch(self.fit(self._prepared(parent, rows or [])), state)
        count.report(self.name, self.logger)
        yield RowBatch((), self._final_state(sync_mode, newest, began))

    # Messages.

    def bound(self, sync_mode: SyncMode) -> EpochMs | None:
        """The moment down to which the list of messages is read."""
        since = None
        if sync_mode is SyncMode.incremental and (mark := self._mark()) is not None:
            since = mark - max(self._messages.lookback(), INDEX_LAG)
        bounds = (since, self._messages.start())
        return max((one for one in bounds if one is not None), default=None)

    def _mark(self) -> EpochMs | None:
        return saved_moment(self.name, self.cursor_field, self._state)

    def _since(self) -> EpochMs | None:
        mark, read_at = self._mark(), self._state.get("read_at")
        return None if mark is None else min(mark, read_at if type(read_at) is int else mark)

    def _is_taken(self, parent: list[Any], bound: EpochMs | None, since: EpochMs | None) -> bool:
        _, enqueued, changed, is_stamped = parent
        if enqueued is None or since is None:
            return enqueued is None or bound is None or bool(enqueued >= bound)
        if bound is not None and enqueued < bound:
            return False
        is_changed = max(enqueued, changed) >= since - INDEX_LAG
        return bool(is_changed or (not is_stamped and enqueued >= since - _STATUS_TIME))

    def _pages(self, saved: Mapping[str, Any], bound: EpochMs | None) -> Iterator[_Page]:
        if saved:
            try:
                yield from self._walk(bound, saved["segments"])
            except CursorRefusedError as error:
                self.logger.warning(
                    "Courier no longer accepts the cursor of the saved state (HTTP %d): "
                    "reading from the newest row again.",
                    error.status,
                )
            else:
                return
        pages = shared_pages(self.context, _SHARED, self._begin_shared)
        for parents, position in pages.read():
            yield _Page(parents, position)

    def _begin_shared(self) -> Iterator[Any]:
        """One walk for all streams of children of this sync, down to the earliest bound."""
        bounds = [
            one.bound(one.configured.sync_mode if one.configured else SyncMode.full_refresh)
            for one in self.context.message_children
            if one.configured is not None or one is self
        ]
        bound = None if None in bounds else min(bounds)
        try:
            for page in self._walk(bound, ()):
                yield [page.parents, page.position]
        except CursorRefusedError as error:
            raise system_error(f"Stream {self.name}: {error}") from None

    def _walk(self, bound: EpochMs | None, resume: Any) -> Iterator[_Page]:
        walk = self._messages.walk(bound, resume, most=1)
        for rows in walk.rows():
            yield _Page(list(map(_as_parent, rows)), walk.position())

    # Rows and states.

    def _fetch(self, message: str) -> list[Row] | None:
        try:
            return self.fetch(message, self.endpoint.format(id=path_part(message)))
        except RefusedError as refused:
            if refused.status in GONE:
                return None
            raise self.client.explain_error(refused) from None

    def _prepared(self, parent: list[Any], rows: list[Row]) -> Iterator[Row]:
        for number, row in enumerate(rows):
            yield self.prepare(row, parent[0], parent[1], number)

    def prepare(self, row: Row, message: str, enqueued: EpochMs | None, number: int) -> Row:
        """Return a row with the columns that identify it. For override."""
        return {**row, "message_id": message, "message_enqueued": enqueued, "ordinal": number}

    def _state_at(
        self,
        sync_mode: SyncMode,
        bound: EpochMs | None,
        newest: EpochMs,
        began: EpochMs,
        position: list[dict[str, Any]],
    ) -> dict[str, Any] | None:
        if not position:
            return None
        if sync_mode is SyncMode.full_refresh:
            return {"cursor": position[0].get("cursor"), "segments": position}
        kept = {
            key: self._state[key] for key in (self.cursor_field, "read_at") if key in self._state
        }
        walk = {"bound": bound, "newest": newest, "began": began, "segments": position}
        return kept | {"walk": walk}

    def _final_state(self, sync_mode: SyncMode, newest: EpochMs, began: EpochMs) -> dict[str, Any]:
        if sync_mode is SyncMode.full_refresh:
            return dict(FULL_REFRESH_COMPLETE)
        watermark = min(max(newest, self._mark() or 0), began)
        return {self.cursor_field: watermark, "read_at": began}


def _as_parent(row: Row) -> list[Any]:
    stamps = [one for one in (moment_of(row.get(name)) for name in _STAMPS) if one is not None]
    return [
        row["id"],
        moment_of(row.get("enqueued")),
        max(stamps, default=0),
        row.get("status") in _STAMPED,
    ]
