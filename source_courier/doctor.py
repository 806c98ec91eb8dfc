"""The verb `doctor` of Courier: one line for each assumption of docs/vendors/courier.md.

docs/doctor.md explains the lines. This file has those of messages. doctor_newest_first.py has those
of runs and of the log of preferences, doctor_lists.py one for each list.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from http_source.columns import Row
from http_source.doctor import (
    Assumption,
    Check,
    DoctorVerb,
    Verdict,
    check_clock,
    require_answer,
)
from http_source.instants import EpochMs
from http_source.retry import CHECK_PATIENCE, RefusedError
from source_courier.client import CURSOR_REFUSALS
from source_courier.config import CourierConfig
from source_courier.context import CourierContext
from source_courier.doctor_client import DoctorClient, MessagePage, lacking
from source_courier.doctor_lists import Lists
from source_courier.doctor_newest_first import newest_first_checks
from source_courier.row_cursor import Jump, names_row, proof
from source_courier.stream import LARGEST_PAGE
from source_courier.streams import Messages

_PAGE_SIZE = 10
_PAGES = 3
# For so many statuses a list is compared with the pages.
_MOST_STATUSES = 3
# A name of a header that tells of a limit.
_LIMIT_HEADER = re.compile("rate-?limit|retry-after", re.IGNORECASE)
_NOT_SOUND = "a line above with * does not hold"
_STATUSES = frozenset(
    {
        *("CANCELED", "CLICKED", "DELAYED", "DELIVERED", "DIGESTED", "ENQUEUED", "FILTERED"),
        *("OPENED", "ROUTED", "SENT", "SIMULATED", "THROTTLED", "UNDELIVERABLE", "UNMAPPED"),
        "UNROUTABLE",
    }
)


class Doctor(DoctorVerb):
    """`source-courier doctor`."""

    vendor = "Courier"

    def examine(self, config: Mapping[str, Any]) -> tuple[Sequence[Check], int]:
        """See `DoctorVerb`."""
        context = CourierContext(CourierConfig.from_mapping(config), patience=CHECK_PATIENCE)
        try:
            client = DoctorClient(Messages(context), context)
            return list(_checks(client, context)), client.asked
        finally:
            context.close()


def _checks(client: DoctorClient, context: CourierContext) -> Iterator[Check]:
    messages = _Examination(client)
    yield from messages.checks()
    lists = Lists(client, context, messages.rows)
    yield from newest_first_checks(client, context, lists)
    yield from lists.checks()


class _Examination:
    """Asks for messages, and judges the answers."""

    def __init__(self, client: DoctorClient) -> None:
        self._client = client
        self._pages: list[MessagePage] = []
        # The lists by status.
        self._by_status: dict[str, MessagePage] = {}
        # Whether no line fails so far that complete reads rest on.
        self._is_sound = True

    def checks(self) -> Iterator[Check]:
        """All lines. Raises an AirbyteTracedException if the key is wrong or nobody answers."""
        first = self._client.messages()
        require_answer(first.answer)
        if isinstance(first.answer.error, RefusedError):
            raise self._client.explain_error(first.answer.error)
        self._pages = self._walk(first)
        exact = [
            self._check_more(),
            self._check_cursor(),
            self._check_again(),
            self._check_gaps(),
            self._check_page_order(),
        ]
        ends, cursor_at_end = self._check_end()
        yield from (*exact, ends, cursor_at_end)
        self._is_sound = not any(
            one.exactness and one.verdict is Verdict.FAILS for one in (*exact, ends)
        )
        yield self._check_order()
        yield self._check_page_size()
        yield self._check_granted()
        yield self._check_form()
        yield self._check_cursor_row()
        yield self._check_refusal()
        yield from self._check_jumps()
        yield from self._check_since()
        yield self._check_archived()
        yield self._check_status()
        yield from self._check_rows()
        yield check_clock(first.answer)
        yield self._check_headers()
        assumption = Assumption(f"may read {Messages.name}", "not refused")
        yield assumption.holds(first.answer.outcome)

    def _walk(self, first: MessagePage) -> list[MessagePage]:
        pages = [first]
        while len(pages) < _PAGES and (cursor := pages[-1].next):
            pages.append(self._client.messages(cursor=cursor))
        return pages

    @property
    def rows(self) -> list[Row]:
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
        rows = self.rows
        newest, oldest = (extreme(row["enqueued"] for row in rows) for extreme in (max, min))
        known = {row["id"] for row in rows}
        statuses = Counter(row["status"] for row in rows if row.get("status") in _STATUSES)
        lost = seen = 0
        for status, _ in statuses.most_common(_MOST_STATUSES):
            page = self._by_status[status] = self._client.messages(status=status)
            inside = [row for row in page.rows if oldest < row["enqueued"] < newest]
            seen += len(inside)
            lost += sum(row["id"] not in known for row in inside)
        return seen, lost

    def _check_page_order(self) -> Check:
        """A read stops at a page that is older than its bound."""
        assumption = Assumption(
            f"order of {Messages.name}",
            "by enqueued, no page is newer than the one before it",
            exactness=True,
        )
        newest = [max(page.moments.values()) for page in self._pages if page.rows]
        if len(newest) < 2:  # noqa: PLR2004 - two pages
            return assumption.unseen(self._why_one_page())
        rises = sum(later > earlier for earlier, later in pairwise(newest))
        return assumption.judged(not rises, f"{rises} of {len(newest)} pages out of order")

    def _check_end(self) -> tuple[Check, Check]:
        ends = Assumption("the end", "more is false on the last page", exactness=True)
        cursor = Assumption("cursor on the last page", "left out or null")
        if not self.rows:
            why = self._why_one_page()
            return ends.unseen(why), cursor.unseen(why)
        # A list of one message: the shortest that has an end.
        page = self._client.messages(messageId=str(self.rows[0]["id"]))
        if page.problem or page.count != 1:
            why = page.problem or f"messageId selects {page.count} rows"
            return ends.unseen(why), cursor.unseen(why)
        return (
            ends.judged(page.more is False, f"more is {_json(page.more)} behind the only row"),
            cursor.judged(page.cursor in (None, ""), "a cursor" if page.cursor else "none"),
        )

    # What complete reads do not rest on, but for a filter that hides rows.

    def _check_order(self) -> Check:
        assumption = Assumption("order", "newest first on each page, by enqueued")
        count = len(self.rows)
        if count < 2:  # noqa: PLR2004 - an order takes two
            return assumption.unseen(self._why_one_page())
        moments = (page.moments.values() for page in self._pages)
        wrong = sum(later > earlier for page in moments for earlier, later in pairwise(page))
        return assumption.judged(not wrong, f"{wrong} of {count} rows out of order")

    def _check_page_size(self) -> Check:
        assumption = Assumption("page size", f"{_PAGE_SIZE} rows")
        full = [page.count for page in self._pages if page.next]
        if not full:
            return assumption.unseen(self._why_one_page())
        return assumption.judged(
            set(full) == {_PAGE_SIZE}, f"{', '.join(map(str, full))} rows before the last page"
        )

    def _check_granted(self) -> Check:
        """Larger pages need fewer requests. If they are refused, a read goes on without them."""
        assumption = Assumption("page size granted", f"limit={LARGEST_PAGE} is not refused")
        page, first = self._client.messages(limit=str(LARGEST_PAGE)), self._pages[0]
        if not page.answer.is_good:
            refused = assumption.fails if page.answer.status else assumption.unseen
            return refused(f"refused: {page.answer.outcome}")
        if page.problem or not first.next:
            return assumption.unseen(page.problem or self._why_one_page())
        word = "granted" if page.count > first.count else "ignored"
        return assumption.judged(
            page.count >= first.count, f"{word}: {page.count} rows, {first.count} without it"
        )

    def _check_form(self) -> Check:
        assumption = Assumption("form of cursors", "base64 of a moment and an ID: names a row")
        page = self._pages[0]
        if not page.next:
            return assumption.unseen(self._why_one_page())
        is_row = any(names_row(page.next, at, ident) for ident, at in page.moments.items())
        return assumption.judged(is_row, "a row of its page" if is_row else "another form")

    def _check_cursor_row(self) -> Check:
        assumption = Assumption("the row of a cursor", "is not shown again on the next page")
        shared = [set(one.ids) & set(other.ids) for one, other in pairwise(self._pages)]
        if not shared or self._pages[1].problem:
            return assumption.unseen(self._why_one_page())
        if any(len(one) > 1 for one in shared):
            return assumption.unseen("the cursor is not respected")
        again = sum(map(len, shared))
        return assumption.judged(not again, f"again on {again} of {len(shared)} pages")

    def _check_refusal(self) -> Check:
        assumption = Assumption("a cursor that Courier did not send", "refused as a bad request")
        page = self._client.messages(cursor="doctor")
        if not page.answer.status:
            return assumption.unseen(page.answer.outcome)
        return assumption.judged(page.answer.status in CURSOR_REFUSALS, page.answer.outcome)

    def _check_jumps(self) -> Iterator[Check]:
        """Parts of the list can be read at once if cursors can be built. Else it takes longer."""
        row = Assumption("a built cursor of a known row", "shows the rows behind it")
        moment = Assumption("a built cursor between two rows", "shows the rows behind that moment")
        jumps, why = self._plan_jumps(self._pages[0])
        if not jumps:
            yield row.unseen(why)
            yield moment.unseen(why)
            return
        answers = [self._client.messages(cursor=jump.cursor) for jump in jumps]
        is_answered = all(page.answer.is_good for page in answers)
        if is_answered and not _all_succeed(jumps, answers):
            # A message may have been listed late, so both are tried with a new page.
            again, _ = self._plan_jumps(self._client.messages())
            if again:
                jumps = again
                answers = [self._client.messages(cursor=jump.cursor) for jump in jumps]
        for assumption, jump, page in zip((row, moment), jumps, answers, strict=True):
            if not page.answer.status:
                yield assumption.unseen(page.answer.outcome)
            elif page.problem:
                yield assumption.fails(page.problem)
            else:
                leads = jump.succeeds(page.rows)
                yield assumption.judged(leads, "these rows" if leads else "other rows")

    def _plan_jumps(self, page: MessagePage) -> tuple[list[Jump], str]:
        """The requests of the proof that a sync makes too, or why it makes none."""
        if not page.next or page.problem or len(page.rows) != page.count:
            return [], self._why_one_page()
        if not self._is_sound:
            return [], _NOT_SOUND
        last = page.rows[-1]
        if not names_row(page.next, last["enqueued"], last["id"]):
            return [], "the cursor of a page does not name its last row"
        jumps = proof(page.rows, list(page.moments.values()))
        return jumps, "no two rows of a page are 2 ms apart"

    def _check_since(self) -> Iterator[Check]:
        forms = (
            Assumption("enqueued_after in milliseconds", "rows since that moment"),
            Assumption("enqueued_after in ISO 8601", "rows since that moment"),
        )
        whole = Assumption(
            "nothing hidden by enqueued_after", "each known row since is shown", exactness=True
        )
        moments = sorted({row["enqueued"] for row in self._pages[0].rows})
        if len(moments) < 3:  # noqa: PLR2004 - one before the bound, one at it, one behind
            for assumption in (*forms, whole):
                yield assumption.unseen(self._why_one_page())
            return
        bound = moments[len(moments) // 2]
        answers: list[MessagePage] = []
        writers: Sequence[Callable[[EpochMs], str]] = Messages.since_forms
        for assumption, form in zip(forms, writers, strict=True):
            page = self._client.messages(enqueued_after=form(bound))
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
            answers.append(page)
        yield self._check_hidden(whole, bound, [page for page in answers if page.rows])

    def _check_hidden(
        self, whole: Assumption, bound: EpochMs, answers: Sequence[MessagePage]
    ) -> Check:
        """A read uses a filter if its first page has rows. It does not see what the filter hides.

        So this is looked at in the answers that have rows.
        """
        if not answers or not self._is_sound:
            return whole.unseen("no answer has rows" if self._is_sound else _NOT_SOUND)
        known = {row["id"]: row["enqueued"] for row in self.rows}
        lost = _lost(known, answers, bound)
        if lost:
            # A message may be archived in between, so those count that are still listed.
            still = self._client.messages().moments
            lost = _lost({ident: known[ident] for ident in still if ident in known}, answers, bound)
        return whole.judged(not lost, f"{lost} rows lacking in {len(answers)} answers")

    def _check_archived(self) -> Check:
        assumption = Assumption("archived=true", "shows the other messages too")
        if not self.rows or not self._is_sound:
            return assumption.unseen(self._why_one_page() if self._is_sound else _NOT_SOUND)
        page = self._client.messages(archived="true")
        if page.problem:
            return (assumption.fails if page.answer.status else assumption.unseen)(page.problem)
        known = {row["id"]: row["enqueued"] for row in self.rows}
        # Lower than any moment.
        lost = lacking(known, page.moments, lower=0, is_last=not page.next)
        return assumption.judged(
            not lost, f"{lost} known rows lacking, {len(set(page.ids) - known.keys())} other rows"
        )

    def _check_status(self) -> Check:
        assumption = Assumption("filter by status", "shows the rows of that status alone")
        good = {status: page for status, page in self._by_status.items() if not page.problem}
        if len(good) < len(self._by_status):
            refused = next(page for page in self._by_status.values() if page.problem)
            is_refused = refused.answer.status and not refused.answer.is_good
            return (assumption.fails if is_refused else assumption.unseen)(refused.problem)
        count = sum(len(page.rows) for page in good.values())
        if not count:
            return assumption.unseen(self._why_one_page())
        other = sum(
            row.get("status") != status for status, page in good.items() for row in page.rows
        )
        return assumption.judged(not other, f"{other} of {count} rows of another status")

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
        unknown = len({str(row.get("status")) for row in self.rows} - _STATUSES)
        yield statuses.judged(not unknown, f"{unknown} unknown values")

    def _check_headers(self) -> Check:
        assumption = Assumption("rate-limit headers", "none: reading messages is not limited")
        names = sorted({name.lower() for page in self._pages for name in page.answer.headers})
        limits = [name for name in names if _LIMIT_HEADER.search(name)]
        return assumption.judged(not limits, ", ".join(limits) or "none")

    def _why_one_page(self) -> str:
        problem = next((page.problem for page in self._pages if page.problem), "")
        return problem or f"{len(self.rows)} messages on {len(self._pages)} pages"


def _lost(known: Mapping[str, EpochMs], answers: Sequence[MessagePage], bound: EpochMs) -> int:
    """How many known rows behind a bound the answers lack."""
    return sum(lacking(known, page.moments, lower=bound, is_last=not page.next) for page in answers)


def _all_succeed(jumps: Sequence[Jump], answers: Sequence[MessagePage]) -> bool:
    return all(jump.succeeds(page.rows) for jump, page in zip(jumps, answers, strict=True))


def _json(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "neither true nor false"
