"""The kinds of stream whose rows are parts of other rows: no request of their own is needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from airbyte_cdk.models import SyncMode

from http_source.body import is_id
from http_source.columns import Row
from http_source.errors import system_error
from http_source.stream import FullRefreshMixin
from source_courier.children import parent_rows
from source_courier.paging import OneReply
from source_courier.parents import shared_pages
from source_courier.stream import CourierStream, PageChain, ParentStream


class SectionStream(FullRefreshMixin, ParentStream, ABC):
    """Rows of `GET /preferences/sections`. One request serves all streams of a sync.

    https://www.courier.com/docs/api-reference/workspace-preferences/list-sections
    """

    requests = "one for all tables of sections"
    endpoint = "preferences/sections"
    paging = OneReply
    page_limit = None

    def prefetch(self, sync_mode: SyncMode) -> None:
        """One short request, which other streams share, is not worth a prefetch."""

    def pages(self) -> Iterator[Sequence[Row]]:
        """Yield the rows of the table, for streams of children."""
        yield list(self._rows_of_sections())

    @abstractmethod
    def rows_of(self, section: Row) -> Iterator[Row]:
        """Yield the rows that one section holds."""

    def part(self, row: Row, key: str) -> list[Row]:
        """A list in a row; null means no rows. Raises a system error for anything else."""
        value: Any = row.get(key, False)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise system_error(
                f"Stream {self.name}: GET /{self.endpoint} shows no list under '{key}' of "
                f"{row.get('id')!r:.100}. Expected one."
            )
        return value

    def _rows(self) -> Iterator[Row]:
        return self.fit(self._rows_of_sections())

    def _rows_of_sections(self) -> Iterator[Row]:
        def begin() -> Iterator[list[Row]]:
            for page in PageChain(self, {}).follow(None):
                yield list(page.rows)

        for page in shared_pages(self.context, self.endpoint, begin).read():
            for section in page:
                for row in self.rows_of(section):
                    if not is_id(row.get(self.key[0])):
                        raise system_error(
                            f"Stream {self.name}: GET /{self.endpoint} shows a row without "
                            f"'{self.key[0]}' in section {section['id']!r:.100}. Expected a text."
                        )
                    yield row


class ParentPartStream(FullRefreshMixin, CourierStream, ABC):
    """Rows that each row of a parent's list holds. The walk of the parents is shared."""

    requests = "the pages of `{parent}` once for all its children"
    parent: ClassVar[type[ParentStream]]

    def prefetch(self, sync_mode: SyncMode) -> None:
        """The walk of the parents may be read already."""

    @abstractmethod
    def rows_of(self, parent: Row) -> Iterator[Row]:
        """Yield the rows that one parent holds."""

    def _rows(self) -> Iterator[Row]:
        return self.fit(
            row for parent in parent_rows(self.context, self.parent) for row in self.rows_of(parent)
        )
