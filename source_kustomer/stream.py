"""The base of all kinds of stream of Kustomer."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

from airbyte_cdk.models import SyncMode

from http_source.columns import Columns
from http_source.instants import EpochMs
from http_source.stream import FullRefreshMixin, VendorStream
from source_kustomer.client import KustomerClient
from source_kustomer.context import KustomerContext
from source_kustomer.custom_fields import CustomFields
from source_kustomer.rows import RowMaker
from source_kustomer.state import bookmark, unfinished_bookmark

# Prefetched pages are used within this time. A stream should read current records, and its state
# should end shortly before its read begins.
PREFETCH_VALID_SECONDS = 60.0


class KustomerStream(VendorStream, ABC):
    """One table of JSON:API resources, each identified by its `id`."""

    # The role that a key needs to read this stream. Error messages name it.
    role: ClassVar[str]
    client: KustomerClient
    # The column for the klass name of a custom object, which is a part of the object's type.
    klass_column: ClassVar[str | None] = None
    # Other cursors in states of this stream. An earlier sync may have had to use one of them.
    former_cursors: ClassVar[Sequence[str]] = ()

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._config = context.config
        self._clock = context.clock
        self._pool = context.pool
        self.client = KustomerClient(self, context, self.role)

    @cached_property
    def custom_fields(self) -> CustomFields:
        """The columns of custom attributes that the configured catalog has."""
        is_typed = self._config.typed_custom_fields and "custom" in self.load_schema()["properties"]
        chosen = self.configured.stream.json_schema if self.configured and is_typed else {}
        return CustomFields(chosen.get("properties", {}))

    def get_json_schema(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The schema with the columns of custom attributes that the configured catalog has."""
        schema = super().get_json_schema()
        typed = self.custom_fields.columns
        return {**schema, "properties": schema["properties"] | typed} if typed else schema

    @cached_property
    def columns(self) -> Columns:
        """Fits rows to the schema, and remembers what did not fit."""
        return Columns(self.get_json_schema())

    @cached_property
    def rows(self) -> RowMaker:
        """Converts resources to rows."""
        fields = self.custom_fields
        fill = fields.fill if fields.columns else None
        return RowMaker(self.name, self.columns, self.klass_column, fill)

    def reports(self) -> Iterator[str]:
        """Sentences for the log at the end of a read, on values that did not fit."""
        yield from super().reports()
        if report := self.custom_fields.report():
            yield report

    def _resume_point(self, sync_mode: SyncMode, cursor: str = "updated_at") -> EpochMs:
        """Return where to begin: the saved state or the start date, whichever is later.

        A full refresh uses only the state of an unfinished full refresh. A state of another cursor
        of the stream says nothing about this cursor.
        """
        if cursor not in self._state and not self._state.keys().isdisjoint(self.former_cursors):
            return self._config.start
        read = unfinished_bookmark if sync_mode is SyncMode.full_refresh else bookmark
        saved = read(self.name, self._state, cursor)
        return self._config.start if saved is None else max(saved.at, self._config.start)


class FullRefreshStream(FullRefreshMixin, KustomerStream, ABC):
    """Rows without a moment of change. Each sync reads and emits all of them."""
