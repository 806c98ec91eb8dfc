"""The kind of stream that is searched by an attribute which Kustomer does not document.

Some readers use such an attribute in production, but it may be refused or ignored one day. So it is
proved on the first page of each read, and there is a list to fall back to, which is complete.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator
from typing import ClassVar

from airbyte_cdk.models import SyncMode

from http_source.errors import system_error
from http_source.stream import RowBatch
from source_kustomer.client import AttributeNotHeededError
from source_kustomer.context import KustomerContext
from source_kustomer.lists import IncrementalListStream
from source_kustomer.paging import Query
from source_kustomer.search import SearchStream


class GuardedSearchStream(SearchStream, ABC):
    """A search whose attribute is proved before a row is emitted.

    The first page proves it: every row lies in the window that was asked for, and they ascend. An
    empty page proves nothing by itself, because a search that does not know the attribute may find
    nothing. Then two more searches prove it: one that names no attribute shows some record, and one
    with the attribute must find a record on the side of the window where that record lies.
    """

    is_guarded = True
    # Reads the same table whole. Without one, the stream fails if the attribute is not heeded.
    fallback: ClassVar[type[IncrementalListStream] | None] = None

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._list = None if self.fallback is None else self.fallback(context)

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """The search's batches, or those of the list if the search cannot be relied on."""
        try:
            self._prove(sync_mode)
        except AttributeNotHeededError as error:
            yield from self._fall_back(error, sync_mode)
            return
        try:
            yield from super().read_batches(sync_mode)
        except AttributeNotHeededError as error:
            # Rows were emitted by then, so the list must wait for the next sync.
            raise system_error(
                f"Stream {self.name}: Kustomer's search heeded {self._attribute} at first, but not "
                f"for all of its pages ({error}). The state stays at what was emitted."
            ) from None

    @property
    def _attribute(self) -> str:
        return f"{self.query_context}_{self.cursor_attribute}"

    def _fall_back(self, error: AttributeNotHeededError, sync_mode: SyncMode) -> Iterator[RowBatch]:
        self._prefetched = None
        if self._list is None:
            raise system_error(
                f"Stream {self.name}: Kustomer's search does not heed {self._attribute} ({error}), "
                "and no list holds these records. The state stays."
            ) from None
        self.logger.warning(
            "Stream %s: Kustomer's search does not heed %s (%s). GET /v1/%s is read whole instead.",
            self.name,
            self._attribute,
            error,
            self._list.endpoint,
        )
        self._list.state = self._state
        yield from self._list.read_batches(sync_mode)

    def _prove(self, sync_mode: SyncMode) -> None:
        """Raise AttributeNotHeededError unless the search heeds the cursor attribute."""
        if self._prefetched is None:
            self.prefetch(sync_mode)
        first = None if self._prefetched is None else self._prefetched.first_of_search()
        if first is None:
            return  # everything has been read already, so nothing is asked
        query, future = first
        page = future.result()
        if page is not None and page.records:
            return
        some = self.client.any_record(self._subject)
        if some is None:
            return  # there is no record at all
        if query.upper is not None and query.lower <= some.cursor < query.upper:
            raise AttributeNotHeededError(f"it shows no record of a window in which {some.id} lies")
        is_before = some.cursor < query.lower
        side = Query(0, query.lower, size=1) if is_before else Query(query.upper or 0, None, size=1)
        page = self.client.search(self._subject, side, archive=False)
        if page is None or not page.records:
            raise AttributeNotHeededError(
                f"it shows no record {'before' if is_before else 'behind'} a window, although "
                f"{some.id} lies there"
            )
