"""What the doctor of Courier asks, and what came. Nothing here raises for a bad answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from http_source.body import BrokenBodyError
from http_source.columns import Row
from http_source.doctor import Answer, AskingMixin, Assumption, Check
from http_source.instants import EpochMs
from source_courier.client import (
    PARAMETER_REFUSALS,
    CourierClient,
    Page,
    path_part,
    read_object,
    read_page,
)
from source_courier.stream import CourierStream
from source_courier.streams import Messages

# The form of a moment: milliseconds since 1970, from 2001 to 2286.
_EARLIEST_MS, _LATEST_MS = 10**12, 10**13


class DoctorClient(AskingMixin, CourierClient):
    """Courier's client that returns what came, whatever it is."""

    # The endpoints that refused `limit`. They are asked without it from then on, as in a sync.
    _refused_limit: frozenset[str] = frozenset()

    def messages(self, **params: str) -> MessagePage:
        """A page of `GET /messages`, in no other size than Courier's own."""
        return _read_messages(self.ask("GET", Messages.endpoint, params=params))

    def rows(
        self,
        stream: CourierStream,
        params: Mapping[str, str] | None = None,
        *,
        parent: str | None = None,
    ) -> ListPage:
        """A page of a stream's list, asked for and validated as in a sync. `parent` is an ID."""
        endpoint = stream.endpoint
        if parent is not None:
            endpoint = endpoint.format(id=path_part(parent))
        sent, limit = dict(params or {}), {}
        if stream.page_limit is not None and stream.endpoint not in self._refused_limit:
            limit = {"limit": str(stream.page_limit)}
        answer = self.ask("GET", endpoint, params=sent | limit)
        if limit and answer.status in PARAMETER_REFUSALS:
            answer = self.ask("GET", endpoint, params=sent)
            if answer.is_good:
                self._refused_limit |= {stream.endpoint}
        if not answer.is_good:
            return ListPage(answer)
        try:
            if stream.rows_keys:
                page = read_page(stream.envelope, answer.body)
            else:
                page = Page([read_object({"id": parent or ""}, answer.body)], None)
        except BrokenBodyError as error:
            # The text names keys of the envelope, and no value.
            return ListPage(answer, broken=str(error))
        return ListPage(answer, page, is_without_limit=stream.endpoint in self._refused_limit)


@dataclass(frozen=True)
class MessagePage:
    """A page of messages. `rows` are those with an ID and a moment, `count` counts all of them."""

    answer: Answer
    rows: Sequence[Row] = ()
    count: int = 0
    more: Any = None
    cursor: Any = None
    is_understood: bool = True

    @property
    def problem(self) -> str:
        """Why nothing can be seen on it; empty if something can."""
        if not self.answer.is_good:
            return self.answer.outcome
        return "" if self.is_understood else "the body has no list under 'results'"

    @property
    def ids(self) -> list[str]:
        """The IDs of its rows."""
        return [str(row["id"]) for row in self.rows]

    @property
    def moments(self) -> dict[str, EpochMs]:
        """Its rows: when each was enqueued, by ID."""
        return {row["id"]: row["enqueued"] for row in self.rows}

    @property
    def next(self) -> str:
        """The cursor of the next page; empty if it names none."""
        return self.cursor if self.more is not False and isinstance(self.cursor, str) else ""


def _read_messages(answer: Answer) -> MessagePage:
    body = answer.body if isinstance(answer.body, dict) else {}
    results, paging = body.get("results"), body.get("paging")
    if not answer.is_good or not isinstance(results, list):
        return MessagePage(answer, is_understood=False)
    paging = paging if isinstance(paging, dict) else {}
    rows = [one for one in results if isinstance(one, dict) and _is_row(one)]
    return MessagePage(answer, rows, len(results), paging.get("more"), paging.get("cursor"))


def _is_row(row: Mapping[str, Any]) -> bool:
    ident, at = row.get("id"), row.get("enqueued")
    is_moment = type(at) is int and _EARLIEST_MS <= at < _LATEST_MS
    return isinstance(ident, str) and bool(ident) and is_moment


@dataclass(frozen=True)
class ListPage:
    """A page of any list. `page` is None if there is none, and `broken` is why a body is none."""

    answer: Answer
    page: Page | None = None
    broken: str = ""
    is_without_limit: bool = False

    @property
    def rows(self) -> Sequence[Row]:
        """Its rows."""
        return () if self.page is None else self.page.rows

    @property
    def cursor(self) -> str | None:
        """The cursor of the next page."""
        return None if self.page is None else self.page.next_cursor

    @property
    def problem(self) -> str:
        """Why nothing can be seen on it; empty if something can."""
        if self.answer.is_not_allowed:
            return f"{self.answer.outcome}: the plan or the key does not show it"
        return self.broken or ("" if self.answer.is_good else self.answer.outcome)

    def judged_problem(self, assumption: Assumption) -> Check | None:
        """The line of an assumption if there is no page, or None."""
        if self.page is not None:
            return None
        is_hidden = self.answer.is_not_allowed or not self.answer.status
        return (assumption.unseen if is_hidden else assumption.fails)(self.problem)


def lacking(
    known: Mapping[str, EpochMs],
    shown: Mapping[str, EpochMs],
    *,
    lower: EpochMs,
    upper: EpochMs | None = None,
    is_last: bool,
) -> int:
    """How many known rows between two bounds an answer lacks. Both hold moments by ID.

    If it is not the last page, older rows than those on it may follow.
    """
    if not is_last:
        lower = max(lower, min(shown.values(), default=lower))
    return sum(
        lower < at and (upper is None or at < upper) and ident not in shown
        for ident, at in known.items()
    )
