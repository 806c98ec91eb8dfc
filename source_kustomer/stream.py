"""The base of all kinds of stream of Kustomer."""

from __future__ import annotations

from abc import ABC
from functools import cached_property
from typing import ClassVar

from airbyte_cdk.models import SyncMode

from http_source.stream import VendorStream
from source_kustomer.client import KustomerClient
from source_kustomer.context import KustomerContext
from source_kustomer.rows import RowMaker
from source_kustomer.state import bookmark, unfinished_bookmark
from source_kustomer.timeline import EpochMs

# Pages that were fetched ahead of a stream's turn are used within this time: a stream should see
# what is there when its turn comes, and end its state not long before.
PREFETCH_VALID_SECONDS = 60.0


class KustomerStream(VendorStream, ABC):
    """One table of JSON:API resources, each identified by its `id`."""

    # The role that reading this stream takes, for the sentence that a refusal ends in.
    role: ClassVar[str]
    client: KustomerClient
    # The column for the name of the klass, which the type of a custom object tells.
    klass_column: ClassVar[str | None] = None

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._config = context.config
        self._clock = context.clock
        self._pool = context.pool
        self.client = KustomerClient(self, context, self.role)

    @cached_property
    def rows(self) -> RowMaker:
        """Makes rows of resources."""
        return RowMaker(self.name, self.columns, self.klass_column)

    def _resume_point(self, sync_mode: SyncMode, cursor: str = "updated_at") -> EpochMs:
        """Where to begin: at the saved state or the start date, whichever is later.

        A full refresh takes only the state of an unfinished full refresh.
        """
        read = unfinished_bookmark if sync_mode is SyncMode.full_refresh else bookmark
        saved = read(self.name, self._state, cursor)
        return self._config.start if saved is None else max(saved.at, self._config.start)
