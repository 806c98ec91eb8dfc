"""The verb `doctor` of Courier: one line for each assumption of docs/vendors/courier.md.

docs/doctor.md explains the lines.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from http_source.doctor import (
    Answer,
    AskingMixin,
    Assumption,
    Check,
    DoctorVerb,
    check_clock,
    require_answer,
)
from http_source.retry import CHECK_PATIENCE, RefusedError
from source_courier.client import CURSOR_REFUSALS, CourierClient
from source_courier.config import CourierConfig
from source_courier.context import CourierContext
from source_courier.streams import Messages

_PAGE_SIZE = 10
_PAGES = 3
# For so many statuses a list is compared with the pages.
_MOST_STATUSES = 3
# A name of a header that tells of a limit.
_LIMIT_HEADER = re.compile("rate-?limit|retry-after", re.IGNORECASE)
_ROW_CURSOR = re.compile(rb"\d{13},\S+")
# The form of a moment: milliseconds since 1970, from 2001 to 2286.
_EARLIEST_MS, _LATEST_MS = 10**12, 10**13
_STATUSES = frozenset(
    {
        *("CANCELED", "CLICKED", "DELAYED", "DELIVERED", "DIGESTED", "ENQUEUED", "FILTERED"),
        *("OPENED", "ROUTED", "SENT", "SIMULATED", "THROTTLED", "UNDELIVERABLE", "UNMAPPED"),
        "UNROUTABLE",
    }
)


class _Client(AskingMixin, CourierClient):
    """Courier's client that returns what came, whatever it is."""

    def messages(self, **params: str) -> _Page:
        """A page of `GET /messages`."""
        return _read_page(self.ask("GET", Messages.endpoint, params=params))


@dataclass(frozen=True)
class _Page:
    """What a page says. `rows` are those with an ID and a moment, `count` counts all of them."""

    answer: Answer
    rows: Sequence[Mapping[str, Any]] = ()
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
    def next(self) -> str:
        """The cursor of the next page; empty if it names none."""
        return self.cursor if self.more is not False and isinstance(self.cursor, str) else ""


def _read_page(answer: Answer) -> _Page:
    body = answer.body if isinstance(answer.body, dict) else {}
    results, paging = body.get("results"), body.get("paging")
    if not answer.is_good or not isinstance(results, list):
        return _Page(answer, is_understood=False)
    paging = paging if isinstance(paging, dict) else {}
    rows = [one for one in results if isinstance(one, dict) and _is_row(one)]
    return _Page(answer, rows, len(results), paging.get("more"), paging.get("cursor"))


def _is_row(row: Mapping[str, Any]) -> bool:
    ident, at = row.get("id"), row.get("enqueued")
    is_moment = type(at) is int and _EARLIEST_MS <= at < _LATEST_MS
    return isinstance(ident, str) and bool(ident) and is_moment


class Doctor(DoctorVerb):
    """`source-courier doctor`."""

    vendor = "Courier"

    def examine(self, config: Mapping[str, Any]) -> tuple[Sequence[Check], int]:
        """See `DoctorVerb`."""
        context = CourierContext(CourierConfig.from_mapping(config), patience=CHECK_PATIENCE)
        try:
            client = _Client(Messages(context), context)
            return list(_Examination(client).checks()), client.asked
        finally:
            context.close()


class _Examination:
    """Asks, and judges the answers."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._pages: list[_Page] = []

    def checks(self) -> Iterator[Check]:
        """All lines. Raises an AirbyteTracedException if the key is wrong or nobody answers."""
        first = self._client.messages()
        require_answer(first.answer)
        if isinstance(first.answer.error, RefusedError):
            raise self._client.explain_error(first.answer.error)
        self._pages = self._walk(first)
        yield self._check_more()
        yield self._check_cursor()
        yield self._check_again()
        yield self._check_gaps()
        yield from self._check_end()
        yield self._check_order()
        yield self._check_page_size()
        yield self._check_limit()
        yield self._check_form()
        yield self._check_refusal()
        yield from self._check_since()
        yield from self._check_rows()
        yield check_clock(first.answer)
        yield self._check_headers()
        assumption = Assumption(f"may read {Messages.name}", "not refused")
        yield assumption.holds(first.answer.outcome)

    def _walk(self, first: _Page) -> list[_Page]:
        pages = [first]
        while len(pages) < _PAGES and (cursor := pages[-1].next):
            pages.append(self._client.messages(cursor=cursor))
        return pages

    @property
    def _rows(self) -> list[Mapping[str, Any]]:
        """The rows of all pages, each once."""
        return list({row["id"]: row for page in self._pages for row in page.rows}.values())

    # What exactness rests on.

    def _check_more(self) -> Check:
        assumption = Assumption(
            "paging.more", "true or false, and a cursor beside true", exactness=True
        )
        for number, page in enumerate(self._pages, start=1):
            if page.problem:
                return assumption.unseen(f"page {number}: {page.problem}")
            if not isinstance(page.more, bool):
                return assumption.fails(f"page {number}: neither true nor false")
            if page.more and not page.next:
                return assumption.fails(f"page {number}: true, and no cursor")
        return assumption.holds(f"on {len(self._pages)} pages")

    def _check_cursor(self) -> Check:
        assumption = Assumption(
            "the cursor is respected", "the next page has other, older rows", exactness=True
        )
        if len(self._pages) < 2 or self._pages[1].problem:  # noqa: PLR2004 - two pages
            return assumption.unseen(self._why_one_page())
        again = sum(len(set(one.ids) & set(other.ids)) for one, other in pairwise(self._pages))
        # One row may come again: a cursor may include the row that it names.
        return assumption.judged(
            again <= len(self._pages) - 1, f"{again} rows again on {len(self._pages)} pages"
        )

    def _check_again(self) -> Check:
        assumption = Assumption(
            "the same cursor, the same rows", "in the same order", exactness=True
        )
        if len(self._pages) < 2 or self._pages[1].problem:  # noqa: PLR2004 - two pages
            return assumption.unseen(self._why_one_page())
        page = self._pages[1]
        # Twice, because a message may be archived in between.
        for _ in range(2):
            before, page = page, self._client.messages(cursor=self._pages[0].next)
            if page.problem:
                return assumption.unseen(page.problem)
            agree = sum(one == other for one, other in zip(before.ids, page.ids, strict=False))
            longer = max(len(before.ids), len(page.ids))
            if agree == longer:
                break
        return assumption.judged(agree == longer, f"{agree} of {longer} rows in their place")

    def _check_gaps(self) -> Check:
        """Lists by status have other pages, and must show no row that the walk left out."""
        assumption = Assumption(
            "nothing cut without a word",
            "a list by status shows no row that the pages lack",
            exactness=True,
        )
        if len(self._pages) < 2 or any(page.problem for page in self._pages):  # noqa: PLR2004
            return assumption.unseen(self._why_one_page())
        seen, lost = self._compare()
        if lost:
            # A message may have been listed late, so the pages are read again.
            self._pages = self._walk(self._client.messages())
            if any(page.problem for page in self._pages):
                return assumption.unseen(self._why_one_page())
            seen, lost = self._compare()
        if not seen:
            return assumption.unseen("no row of the lists by status is among those of the pages")
        return assumption.judged(not lost, f"{seen} rows compared, {lost} lacking")

    def _compare(self) -> tuple[int, int]:
        """How many rows of the lists by status are in the span of the pages, and not on them."""
        rows = self._rows
        newest, oldest = (extreme(row["enqueued"] for row in rows) for extreme in (max, min))
        known = {row["id"] for row in rows}
        statuses = Counter(row["status"] for row in rows if row.get("status") in _STATUSES)
        lost = seen = 0
        for status, _ in statuses.most_common(_MOST_STATUSES):
            page = self._client.messages(status=status)
            inside = [row for row in page.rows if oldest < row["enqueued"] < newest]
            seen += len(inside)
            lost += sum(row["id"] not in known for row in inside)
        return seen, lost

    def _check_end(self) -> Iterator[Check]:
        ends = Assumption("the end", "more is false on the last page", exactness=True)
        cursor = Assumption("cursor on the last page", "left out or null")
        rows = self._rows
        if not rows:
            yield ends.unseen(self._why_one_page())
            yield cursor.unseen(self._why_one_page())
            return
        # A list of one message: the shortest that has an end.
        page = self._client.messages(messageId=str(rows[0]["id"]))
        if page.problem or page.count != 1:
            why = page.problem or f"messageId selects {page.count} rows"
            yield ends.unseen(why)
            yield cursor.unseen(why)
            return
        yield ends.judged(page.more is False, f"more is {_json(page.more)} behind the only row")
        yield cursor.judged(page.cursor in (None, ""), "a cursor" if page.cursor else "none")

    # What reads do not rest on.

    def _check_order(self) -> Check:
        assumption = Assumption("order", "newest first, by enqueued")
        moments = [row["enqueued"] for row in self._rows]
        if len(moments) < 2:  # noqa: PLR2004 - an order takes two
            return assumption.unseen(self._why_one_page())
        wrong = sum(later > earlier for earlier, later in pairwise(moments))
        return assumption.judged(not wrong, f"{wrong} of {len(moments)} rows out of order")

    def _check_page_size(self) -> Check:
        assumption = Assumption("page size", f"{_PAGE_SIZE} rows")
        full = [page.count for page in self._pages if page.next]
        if not full:
            return assumption.unseen(self._why_one_page())
        return assumption.judged(
            set(full) == {_PAGE_SIZE}, f"{', '.join(map(str, full))} rows before the last page"
        )

    def _check_limit(self) -> Check:
        assumption = Assumption("limit is ignored", "as many rows as without it")
        page, first = self._client.messages(limit="2"), self._pages[0]
        if page.problem or first.count <= 2:  # noqa: PLR2004 - the limit above
            return assumption.unseen(page.problem or self._why_one_page())
        return assumption.judged(page.count == first.count, f"{page.count} and {first.count} rows")

    def _check_form(self) -> Check:
        assumption = Assumption("form of cursors", "base64 of a moment and an ID: names a row")
        cursor = self._pages[0].next
        if not cursor:
            return assumption.unseen(self._why_one_page())
        try:
            is_row = bool(_ROW_CURSOR.fullmatch(base64.b64decode(cursor, validate=True)))
        except (binascii.Error, ValueError):
            is_row = False
        return assumption.judged(is_row, "that form" if is_row else "another form")

    def _check_refusal(self) -> Check:
        assumption = Assumption("a cursor that Courier did not send", "refused as a bad request")
        page = self._client.messages(cursor="doctor")
        if not page.answer.status:
            return assumption.unseen(page.answer.outcome)
        return assumption.judged(page.answer.status in CURSOR_REFUSALS, page.answer.outcome)

    def _check_since(self) -> Iterator[Check]:
        forms = (
            Assumption("enqueued_after in milliseconds", "rows since that moment"),
            Assumption("enqueued_after in ISO 8601", "rows since that moment"),
        )
        moments = sorted({row["enqueued"] for row in self._pages[0].rows})
        if len(moments) < 3:  # noqa: PLR2004 - one before the bound, one at it, one behind
            for assumption in forms:
                yield assumption.unseen(self._why_one_page())
            return
        bound = moments[len(moments) // 2]
        moment = datetime.fromtimestamp(bound / 1000, tz=UTC).isoformat(timespec="milliseconds")
        for assumption, text in zip(forms, (str(bound), moment), strict=True):
            page = self._client.messages(enqueued_after=text)
            if not page.answer.is_good:
                refused = assumption.fails if page.answer.status else assumption.unseen
                yield refused(page.answer.outcome)
                continue
            before = sum(row["enqueued"] < bound for row in page.rows)
            at = sum(row["enqueued"] == bound for row in page.rows)
            words = "included" if at else "not included"
            is_respected = not before and bool(page.rows)
            yield assumption.judged(
                is_respected,
                f"{before} of {page.count} rows before it; the moment itself is {words}",
            )

    def _check_rows(self) -> Iterator[Check]:
        rows = Assumption("id and enqueued", "text, and whole milliseconds, in each row")
        statuses = Assumption("status", f"one of {len(_STATUSES)} known values")
        count, good = (
            sum(page.count for page in self._pages),
            sum(len(page.rows) for page in self._pages),
        )
        if not count:
            yield rows.unseen(self._why_one_page())
            yield statuses.unseen(self._why_one_page())
            return
        yield rows.judged(count == good, f"in {good} of {count} rows")
        unknown = len({str(row.get("status")) for row in self._rows} - _STATUSES)
        yield statuses.judged(not unknown, f"{unknown} unknown values")

    def _check_headers(self) -> Check:
        assumption = Assumption("rate-limit headers", "none: reading messages is not limited")
        names = sorted({name.lower() for page in self._pages for name in page.answer.headers})
        limits = [name for name in names if _LIMIT_HEADER.search(name)]
        return assumption.judged(not limits, ", ".join(limits) or "none")

    def _why_one_page(self) -> str:
        problem = next((page.problem for page in self._pages if page.problem), "")
        return problem or f"{len(self._rows)} messages on {len(self._pages)} pages"


def _json(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "neither true nor false"
