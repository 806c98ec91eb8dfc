"""The base of all kinds of stream of Kustomer."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from airbyte_cdk.models import SyncMode

from http_source.body import TOO_DEEP
from http_source.columns import Row
from http_source.errors import system_error
from http_source.stream import VendorStream
from source_kustomer.client import KustomerClient, Resource
from source_kustomer.context import KustomerContext
from source_kustomer.rows import flatten
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

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._config = context.config
        self._clock = context.clock
        self._pool = context.pool
        self.client = KustomerClient(self, context, self.role)

    def row(self, resource: Resource, added: Row | None = None) -> Row:
        """A resource as a flat row that fits the columns. Raises a system error if too deep.

        `added` are further columns, which count more than an attribute of the same name.
        """
        try:
            row = flatten(resource)
            if added:
                row |= added
            return self.columns.fit(row)
        except RecursionError:
            raise system_error(
                f"Stream {self.name}: record {resource['id']}: {TOO_DEEP}."
            ) from None

    def _resume_point(self, sync_mode: SyncMode, cursor: str = "updated_at") -> EpochMs:
        """Where to begin: at the saved state or the start date, whichever is later.

        A full refresh takes only the state of an unfinished full refresh.
        """
        read = unfinished_bookmark if sync_mode is SyncMode.full_refresh else bookmark
        saved = read(self.name, self._state, cursor)
        return self._config.start if saved is None else max(saved.at, self._config.start)
