"""The part of Courier's doctor that looks at every list: one line for each stream.

A stream gets its line because it is listed in `STREAMS`. Its own facts say what is expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.body import is_id
from http_source.columns import Row
from http_source.doctor import Assumption, Check
from source_courier.children import GONE, ChildStream
from source_courier.context import CourierContext
from source_courier.derived import ParentPartStream, SectionStream
from source_courier.doctor_client import DoctorClient, ListPage
from source_courier.lists import CourierListStream
from source_courier.message_children import MessageChildStream
from source_courier.runs import RunStepStream
from source_courier.stream import CourierStream
from source_courier.streams import STREAMS, Messages

_Child = ChildStream | MessageChildStream | RunStepStream
_Part = SectionStream | ParentPartStream


class Lists:
    """The first page of each list. Each is asked for once."""

    def __init__(
        self, client: DoctorClient, context: CourierContext, messages: Sequence[Row]
    ) -> None:
        """`messages` are known messages. Some lists belong to a message."""
        self._client = client
        self._context = context
        self._messages = messages
        self._pages: dict[tuple[str, ...], ListPage] = {}

    def checks(self) -> Iterator[Check]:
        """One line for each stream, and one for each parameter of variants."""
        for kind in STREAMS:
            stream = kind(self._context)
            if isinstance(stream, Messages):
                continue  # doctor.py has more than one line for them
            if isinstance(stream, _Child):
                yield self._check_child(stream)
            elif isinstance(stream, _Part):
                yield self._check_part(stream)
            else:
                yield self._check_list(stream)
            if isinstance(stream, CourierListStream) and len(stream.variants) > 1:
                yield self._check_variants(stream)

    def first_page(
        self, stream: CourierStream, params: Mapping[str, str] | None = None
    ) -> ListPage:
        """The first page of a list without a parent."""
        key = (stream.endpoint, *(params or {}).values())
        if key not in self._pages:
            self._pages[key] = self._client.rows(stream, params)
        return self._pages[key]

    def _check_list(self, stream: CourierStream) -> Check:
        assumption = _assumption(stream)
        pages = [self.first_page(stream, params) for params in _variants(stream)]
        for page in pages:
            if (problem := page.judged_problem(assumption)) is not None:
                return problem
        return assumption.holds(_words(pages))

    def _check_variants(self, stream: CourierListStream) -> Check:
        """Each value of the parameter shows rows of its own."""
        names = ", ".join(stream.variants[0])
        assumption = Assumption(f"{names} of {stream.name}", "each value shows rows of its own")
        pages = [self.first_page(stream, params) for params in stream.variants]
        for page in pages:
            if page.page is None:
                return assumption.unseen(page.problem)
        if not all(page.rows for page in pages):
            return assumption.unseen(" and ".join(f"{len(page.rows)}" for page in pages) + " rows")
        other = sum(
            any(row.get(name) not in (None, value) for name, value in params.items())
            for params, page in zip(stream.variants, pages, strict=True)
            for row in page.rows
        )
        is_same = any(one.rows == two.rows for one, two in combinations(pages, 2))
        return assumption.judged(
            not other and not is_same,
            "all values show the same rows" if is_same else f"{other} rows of another value",
        )

    def _check_part(self, stream: _Part) -> Check:
        """Rows that are parts of the rows of another list."""
        assumption = Assumption(
            f"stream {stream.name}",
            f"each with {stream.key[-1]}, in the rows of /{stream.endpoint}",
        )
        page = self.first_page(self._whole(stream))
        if (problem := page.judged_problem(assumption)) is not None:
            return problem
        try:
            parts = self._parts(stream, page)
        except AirbyteTracedException:
            # The text of the error has an ID.
            return assumption.fails("a row holds its parts in another form")
        good = sum(is_id(part.get(stream.key[-1])) for part in parts)
        return assumption.judged(good == len(parts), f"{good} of {len(parts)} with it")

    def _check_child(self, stream: _Child) -> Check:
        assumption = _assumption(stream)
        parents = self._ids(stream.parent)
        if not parents:
            return assumption.unseen(f"no row of {stream.parent.name} is known")
        # A parent may have been deleted, or may be too new: then another one is taken.
        tried = list(dict.fromkeys((parents[0], parents[-1])))
        gone = stream.gone_statuses if isinstance(stream, ChildStream) else GONE
        for parent in tried:
            page = self._client.rows(stream, parent=parent)
            if page.answer.status not in gone:
                problem = page.judged_problem(assumption)
                return problem or assumption.holds(_words([page]))
        return assumption.unseen(f"{page.answer.outcome} for {len(tried)} of {stream.parent.name}")

    def _ids(self, kind: type[CourierStream]) -> list[str]:
        """IDs of rows that may be parents."""
        stream = kind(self._context)
        rows = self._messages
        if isinstance(stream, _Part):
            try:
                rows = self._parts(stream, self.first_page(self._whole(stream)))
            except AirbyteTracedException:
                rows = ()
        elif not isinstance(stream, Messages):
            rows = self.first_page(stream, next(iter(_variants(stream)))).rows
        return [row[kind.key[0]] for row in rows if is_id(row.get(kind.key[0]))]

    def _whole(self, stream: _Part) -> CourierStream:
        """The list whose rows have the parts."""
        return stream.parent(self._context) if isinstance(stream, ParentPartStream) else stream

    @staticmethod
    def _parts(stream: _Part, page: ListPage) -> list[Row]:
        """The parts of the rows. Raises AirbyteTracedException if they have another form."""
        columns = stream.parent.child_columns if isinstance(stream, ParentPartStream) else ()
        return [
            part for row in page.rows for part in stream.rows_of({**dict.fromkeys(columns), **row})
        ]


def _variants(stream: CourierStream) -> Sequence[Mapping[str, str]]:
    return stream.variants if isinstance(stream, CourierListStream) else ({},)


def _assumption(stream: CourierStream) -> Assumption:
    name = f"stream {stream.name}"
    if not stream.rows_keys:
        return Assumption(name, "an object with the id that was asked for")
    keys = " or ".join(stream.rows_keys) + (" (or null)" if stream.rows_may_be_null else "")
    ids = f" with {', '.join(stream.id_keys)}" if stream.id_keys else ""
    return Assumption(name, f"{keys}{ids}; {stream.paging.form}")


def _words(pages: Sequence[ListPage]) -> str:
    count = sum(len(page.rows) for page in pages)
    ends = ", more to come" if any(page.cursor for page in pages) else ""
    limit = "; limit is refused" if any(page.is_without_limit for page in pages) else ""
    return f"{count} row{'' if count == 1 else 's'}{ends}{limit}"
