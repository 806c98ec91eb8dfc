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
from source_kustomer.search import SearchStream


class GuardedSearchStream(SearchStream, ABC):
    """A search whose attribute is proved before a row is emitted.

    The first page proves it: every row lies in the window that was asked for, and they ascend. An
    empty page proves nothing by itself. Then the counts must: the records before the window and
    those from its start on must be as many as there are in all. This takes three searches.
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
        count = self.client.count
        whole, before = count(self._subject), count(self._subject, upper=query.lower)
        behind = count(self._subject, lower=query.lower)
        if whole != before + behind:
            raise AttributeNotHeededError(
                f"it counts {whole} records in all, but {before} before a moment and {behind} from "
                "that moment on"
            )
