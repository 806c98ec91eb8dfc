"""The streams of custom objects of one klass, with its custom attributes as columns."""

from __future__ import annotations

import logging
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import IO, Any

import orjson
from airbyte_cdk.models import AirbyteCatalog, AirbyteStream, SyncMode

from http_source.instants import EpochMs
from http_source.stream import RowBatch
from source_kustomer.client import Resource, SearchSubject, UnsupportedAttributeError
from source_kustomer.context import KustomerContext
from source_kustomer.custom_fields import Attribute, typed_columns
from source_kustomer.guarded import GuardedSearchStream
from source_kustomer.rows import klasses_of
from source_kustomer.state import Bookmark
from source_kustomer.streams import CustomAttributes, Kobjects

PREFIX = "kobject_"
# Records of a batch that is read back from a file, as many as a page of a search has.
_BATCH = 500


class KlassStream(GuardedSearchStream):
    """Custom objects of one klass, `kobject_<klass>`, by the search of its own context.

    https://developer.kustomer.com/api/core-resources. Kustomer documents the context
    `kobject_<klass>`, but not the attribute for a search in it. If `kobject_updated_at` is not
    proved, the rows are taken from one read of all custom objects. All streams of a klass that need
    this read share it.
    """

    query_context = "kobject"
    klass_column = Kobjects.klass_column

    def __init__(self, context: KustomerContext, klass: str) -> None:
        """`klass` is the name of the klass, as in the type `kobject.<klass>` of its records."""
        self.klass = klass
        self.name = PREFIX + klass
        super().__init__(context)
        self._kustomer = context
        context.klass_streams.append(self)

    def _search_subject(self) -> SearchSubject:
        return SearchSubject(
            PREFIX + self.klass,
            is_guarded=True,
            is_archive_guarded=True,
            attribute_context="kobject",
            klass=self.klass,
        )

    def load_schema(self) -> Mapping[str, Any]:
        """The columns of all custom objects, without those of custom attributes."""
        return Kobjects(self._kustomer).load_schema()

    @property
    def start(self) -> EpochMs:
        """The moment where the read of this sync begins."""
        return self._resume_point(self.mode)

    @property
    def mode(self) -> SyncMode:
        """The mode of this sync."""
        return SyncMode.full_refresh if self.configured is None else self.configured.sync_mode

    def _fall_back(
        self, error: UnsupportedAttributeError, sync_mode: SyncMode
    ) -> Iterator[RowBatch]:
        self._prefetched = None
        self.logger.warning(
            "Stream %s: Kustomer's search does not support %s for this klass (%s). The rows are "
            "taken from a read of all custom objects instead.",
            self.name,
            self.attribute,
            error,
        )
        walk = self._kustomer.shared.get(_KobjectWalk.__name__)
        if walk is None:
            walk = _KobjectWalk(self._kustomer)
            self._kustomer.shared[_KobjectWalk.__name__] = walk
        start = self._resume_point(sync_mode)
        for records in walk.read(self.klass):
            yield RowBatch([self.rows.make(one) for at, one in records if at >= start])
        yield RowBatch((), Bookmark(max(start, walk.end)).as_state())


class _KobjectWalk:
    """One read of all custom objects, kept in a temporary file for each klass that has a stream.

    It begins at the earliest moment that one of these streams needs. A file is deleted when it was
    read, or when the process ends.
    """

    def __init__(self, context: KustomerContext) -> None:
        streams: list[KlassStream] = context.klass_streams
        self._files = {stream.klass: _open_file() for stream in streams}
        kobjects = Kobjects(context, reads_for=streams[0].name)
        is_full = any(stream.mode is SyncMode.full_refresh for stream in streams)
        start = min(stream.start for stream in streams)
        kobjects.state = Bookmark(start, unfinished=is_full).as_state()
        read = kobjects.begin_read(SyncMode.full_refresh if is_full else SyncMode.incremental)
        for batch in read.batches:
            for record in batch.records:
                for klass in klasses_of(record.resource) & self._files.keys():
                    line = orjson.dumps([record.cursor, record.resource])
                    self._files[klass].write(line + b"\n")
        self.end: EpochMs = read.end.at

    def read(self, klass: str) -> Iterator[list[tuple[EpochMs, Resource]]]:
        """The records of a klass with their cursors, ascending, in batches. Once for each klass."""
        with self._files.pop(klass) as file:
            file.seek(0)
            while batch := [orjson.loads(line) for line in islice(file, _BATCH)]:
                yield batch


def _open_file() -> IO[bytes]:
    return tempfile.TemporaryFile()


def add_custom_fields(
    catalog: AirbyteCatalog, context: KustomerContext, logger: logging.Logger
) -> None:
    """Add a column for each custom attribute, and a stream for each klass, to a catalog.

    Raises a config error if the key lacks the role to read their definitions.
    """
    attributes = defaultdict(list)
    definitions = CustomAttributes(context)
    for attribute in definitions.read_attributes():
        attributes[attribute.resource].append(attribute)
    streams = {stream.name: stream for stream in catalog.streams}
    for klass in definitions.klass_names():
        stream = KlassStream(context, klass).as_airbyte_stream()
        _add_columns(stream, attributes[f"kobject.{klass}"], logger)
        catalog.streams.append(stream)
    for name, kind in _KINDS.items():
        _add_columns(streams[name], attributes[kind], logger)
    of_klasses = [
        attribute
        for kind, found in attributes.items()
        if kind.startswith("kobject.")
        for attribute in found
    ]
    _add_columns(streams["kobjects"], of_klasses, logger)


# The kind of record of each stream that has custom attributes, beside custom objects.
_KINDS = {
    "companies": "company",
    "conversations": "conversation",
    "customers": "customer",
    "messages": "message",
}


def _add_columns(
    stream: AirbyteStream, attributes: list[Attribute], logger: logging.Logger
) -> None:
    properties = stream.json_schema["properties"]
    found = typed_columns(attributes, properties)
    for sentence in found.told:
        logger.warning(
            "Stream %s: custom attributes without a column of their own, because %s.",
            stream.name,
            sentence,
        )
    stream.json_schema = {**stream.json_schema, "properties": properties | dict(found.columns)}
