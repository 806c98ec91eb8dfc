"""The verb `doctor` of Kustomer: one line for each assumption of docs/vendors/kustomer.md.

docs/doctor.md explains the lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any
from urllib.parse import parse_qsl

from http_source.body import UnfinishedBodyError, parse_body
from http_source.doctor import (
    Answer,
    AskingMixin,
    Assumption,
    Check,
    DoctorVerb,
    check_clock,
    form_of,
    require_answer,
)
from http_source.instants import EpochMs, format_instant, parse_instant
from http_source.retry import CHECK_PATIENCE, RefusedError
from source_kustomer.children import ChildStream
from source_kustomer.client import KustomerClient, SearchSubject
from source_kustomer.config import KustomerConfig
from source_kustomer.context import LISTS, SEARCHES, KustomerContext
from source_kustomer.included import IncludedStream
from source_kustomer.lists import ListStream
from source_kustomer.paging import MAX_PAGES, MAX_ROWS, PAGE_SIZE
from source_kustomer.rows import camel_case
from source_kustomer.search import SearchStream
from source_kustomer.source import STREAMS
from source_kustomer.stream import KustomerStream
from source_kustomer.streams import AuditLogs, CustomAttributes, Customers
from source_kustomer.timeline import HORIZON, INDEX_LAG, SEAM

_DAY: EpochMs = 24 * 60 * 60 * 1000
# The contexts whose attributes Kustomer documents, and those of its archive that are looked at.
_CONTEXTS = ("customer", "conversation", "message", "note", "kobject")
_ARCHIVED = ("customer", "conversation")
# Rows of a page where a full one is not needed.
_FEW = 50
# A window needs a moment of its own, one before it and one behind it.
_LEAST_MOMENTS = 3
# How far back the newest rows are looked at. The look is repeated at the end.
_RECENT: EpochMs = 10 * 60 * 1000
# Rows on each side of the border that are needed to judge a gap between them.
_LEAST_NEIGHBOURS = 25
_NEIGHBOURHOOD: EpochMs = 4 * SEAM
_ROW_BEHIND_PAGES = MAX_ROWS // MAX_PAGES + 2
_BAD_REQUEST, _NOT_FOUND = 400, 404
_NOT_SERVED = frozenset({_BAD_REQUEST, _NOT_FOUND})

_LOWER = "gte keeps its own moment and all behind it, and nothing before"
_UPPER = "lt keeps only what is before its moment"
_ORDER = "rows ascend by the attribute that they are sorted by"
_WHOLE = "answers about the same rows agree, and a last page is the last"
_GOES_ON = "the next link leads on, and is null at the end"


class _Client(AskingMixin, KustomerClient):
    """Kustomer's client that returns what came, whatever it is."""

    def parse(self, content: bytes) -> Any:
        """A body that calls itself unfinished is asked for again."""
        body = parse_body(content)
        if _part(body, "meta").get("timed_out") is True:
            msg = "the search timed out"
            raise UnfinishedBodyError(msg)
        return body

    def find(self, query: _Question) -> _Page:
        """Search, `POST /v1/customers/search` or that of the archive."""
        subject = query.subject
        body: dict[str, Any] = {"queryContext": subject.context}
        if query.criteria:
            body["and"] = [{subject.attribute(name): {how: to}} for name, how, to in query.criteria]
        if query.sort:
            body["sort"] = [{subject.attribute(subject.cursor): query.sort}]
        if query.deleted:
            body["includeDeleted"] = True
        answer = self.ask(
            "POST",
            "customers/archive/search" if query.archive else "customers/search",
            params={"page": str(query.page), "pageSize": str(query.size)},
            json=body,
            bucket=SEARCHES,
        )
        return _read_page(answer, subject.cursor_path, query.size)

    def list_(self, endpoint: str, params: Mapping[str, str]) -> _Page:
        """A page of a list, `GET /v1/<endpoint>`."""
        answer = self.ask("GET", endpoint, params=params, bucket=LISTS)
        return _read_page(answer, "createdAt", int(params.get("pageSize", "0")))


@dataclass(frozen=True)
class _Question:
    """A search: criteria as (attribute, operator, value), and the order."""

    subject: SearchSubject
    criteria: tuple[tuple[str, str, Any], ...] = ()
    sort: str = ""
    size: int = _FEW
    page: int = 1
    archive: bool = False
    deleted: bool = False

    def between(self, lower: EpochMs | None, upper: EpochMs | None) -> _Question:
        """The question about the records in [lower, upper)."""
        bounds = ((self.subject.cursor, "gte", lower), (self.subject.cursor, "lt", upper))
        criteria = ((name, how, format_instant(at)) for name, how, at in bounds if at is not None)
        return replace(self, criteria=tuple(criteria))


@dataclass(frozen=True)
class _Row:
    id: str
    at: EpochMs
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class _Page:
    """What a page says. `rows` are those with an ID and a moment, `count` counts all of them."""

    answer: Answer
    size: int
    rows: Sequence[_Row] = ()
    resources: Sequence[Mapping[str, Any]] = ()
    total: int | None = None
    granted: int | None = None
    link: str = "absent"
    is_understood: bool = True

    @property
    def count(self) -> int:
        """The number of all its resources."""
        return len(self.resources)

    @property
    def moments(self) -> list[EpochMs]:
        """The different moments of its rows, ascending."""
        return sorted({row.at for row in self.rows})

    @property
    def is_last(self) -> bool:
        """Whether it says that nothing follows."""
        return self.link != "a link" and self.total in (None, self.count) and self.count < self.size

    @property
    def ids(self) -> set[str]:
        """The IDs of its rows."""
        return {row.id for row in self.rows}

    @property
    def problem(self) -> str:
        """Why nothing can be seen on it; empty if something can."""
        if not self.answer.is_good:
            return self.answer.outcome
        return "" if self.is_understood else "the body has no list of resources under 'data'"

    def ascends(self) -> bool:
        """Whether the rows ascend."""
        return all(one.at <= other.at for one, other in pairwise(self.rows))

    def descends(self) -> bool:
        """Whether the rows descend."""
        return all(one.at >= other.at for one, other in pairwise(self.rows))


def _read_page(answer: Answer, path: str, size: int) -> _Page:
    data = answer.body.get("data") if isinstance(answer.body, dict) else None
    if not answer.is_good or not isinstance(data, list):
        return _Page(answer, size, is_understood=False)
    resources = [one for one in data if isinstance(one, dict)]
    meta, links = _part(answer.body, "meta"), _part(answer.body, "links")
    link = links.get("next")
    return _Page(
        answer,
        size,
        [row for one in resources if (row := _row(one, path)) is not None],
        resources,
        _number(meta.get("total")),
        _number(meta.get("pageSize")),
        "a link" if link else "null" if "next" in links else "absent",
    )


def _row(resource: Mapping[str, Any], path: str) -> _Row | None:
    attributes = _part(resource, "attributes")
    value: Any = attributes
    try:
        for name in path.split("."):
            value = value[name]
        return _Row(str(resource["id"]), parse_instant(value), attributes)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _part(body: Any, name: str) -> Mapping[str, Any]:
    part = body.get(name) if isinstance(body, dict) else None
    return part if isinstance(part, dict) else {}


def _number(value: Any) -> int | None:
    if isinstance(value, dict):
        value = value.get("value")
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if type(value) is int else None


@dataclass(frozen=True)
class _Sample:
    """A first page of everything, a window inside of it, and perhaps more pages to compare."""

    subject: SearchSubject
    first: _Page
    window: _Page | None = None
    lower: EpochMs = 0
    upper: EpochMs = 0
    second: _Page | None = None
    behind: _Page | None = None

    @property
    def problem(self) -> str:
        """Why its bounds cannot be seen; empty if they can."""
        if self.first.answer.is_not_allowed:
            return f"{self.first.problem}, so the key needs the role {Customers.role}"
        if self.first.problem:
            return self.first.problem
        if self.window is None:
            return f"{len(self.first.moments)} different moments"
        return self.window.problem

    @property
    def _inside(self) -> list[_Row]:
        return [] if self.window is None else list(self.window.rows)

    @property
    def before(self) -> int:
        """How many rows the window wrongly shows before it, or leaves out at its lower bound."""
        at_bound = {row.id for row in self.first.rows if row.at == self.lower}
        left_out = len(at_bound - {row.id for row in self._inside})
        return sum(row.at < self.lower for row in self._inside) + left_out

    @property
    def after(self) -> int:
        """How many rows the window wrongly shows at its upper bound or behind it."""
        return sum(row.at >= self.upper for row in self._inside)

    @property
    def is_ordered(self) -> bool:
        """Whether both pages ascend."""
        return self.first.ascends() and (self.window is None or self.window.ascends())

    @property
    def cut(self) -> int:
        """How many rows one answer shows, and another about the same moments does not."""
        if self.window is None or self.problem:
            return 0
        lost = 0
        # At the lower bound itself a row may be missing because of the bound.
        first = _between(self.first, self.lower, self.upper)
        if self.window.is_last:
            lost += len(first - self.window.ids)
        if self.first.ascends() or self.first.descends():
            lost += len(_between(self.window, self.lower, self.upper) - first)
            lost += self._differ()
        if self.behind is not None:
            edge = max(row.at for row in self.first.rows)
            # Newer rows may have become visible in between.
            settled = self.first.answer.vendor_time * 1000 - INDEX_LAG
            lost += sum(edge < row.at < settled for row in self.behind.rows)
        return lost

    def _differ(self) -> int:
        """How many rows page 2 of smaller pages shows that the first page lacks, or lacks."""
        if self.second is None or len(self.second.moments) < _LEAST_MOMENTS:
            return 0
        lower, *_, upper = self.second.moments
        return len(_between(self.second, lower, upper) ^ _between(self.first, lower, upper))

    def ties(self) -> Iterator[bool]:
        """For each group of rows with one moment: whether two answers have the same order."""
        if self.window is None:
            return
        shown = [row.id for row in self.window.rows]
        for _, group in groupby(self.first.rows, lambda row: row.at):
            known = [row.id for row in group]
            again = [ident for ident in shown if ident in set(known)]
            known = [ident for ident in known if ident in set(again)]
            if len(known) > 1:
                yield known == again

    @property
    def is_suspicious(self) -> bool:
        """Whether something does not hold, or a record changed in between."""
        return bool(self.before or self.after or self.cut or not self.is_ordered)


def _between(page: _Page, lower: EpochMs, upper: EpochMs) -> set[str]:
    """The IDs of rows strictly between two moments."""
    return {row.id for row in page.rows if lower < row.at < upper}


class Doctor(DoctorVerb):
    """`source-kustomer doctor`."""

    vendor = "Kustomer"

    def examine(self, config: Mapping[str, Any]) -> tuple[Sequence[Check], int]:
        """See `DoctorVerb`."""
        context = KustomerContext(KustomerConfig.from_mapping(config), patience=CHECK_PATIENCE)
        try:
            client = _Client(Customers(context), context, Customers.role)
            return list(_Examination(client).checks()), client.asked
        finally:
            context.close()


class _Examination:
    """Asks, and judges the answers."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._samples: dict[tuple[str, bool], _Sample] = {}
        # The answers that tell whether the key may read a stream.
        self._answers: dict[str, Answer] = {}
        self._lists: dict[tuple[str, tuple[tuple[str, str], ...]], _Page] = {}

    def checks(self) -> Iterator[Check]:
        """All lines. Raises an AirbyteTracedException if the key is wrong or nobody answers."""
        customers = self._take("customer")
        self._require_key(customers.first.answer)
        early = self._newest()
        for context in _CONTEXTS[1:]:
            self._take(context)
        for context in _ARCHIVED:
            self._take(context, archive=True)
        yield from self._check_searches()
        yield from self._check_seam()
        yield from self._check_pages()
        yield from self._check_depth()
        yield from self._check_headers()
        yield from self._check_deleted()
        yield from self._check_attributes()
        yield self._check_klass()
        yield from self._check_lists()
        yield self._check_lag(early)
        yield from self._check_streams()

    def _require_key(self, answer: Answer) -> None:
        require_answer(answer)
        refused = answer.error
        if isinstance(refused, RefusedError) and not self._client.accepts_key():
            raise self._client.explain_error(refused)

    # Samples.

    def _take(
        self, context: str, *, archive: bool = False, subject: SearchSubject | None = None
    ) -> _Sample:
        """Take a sample, a second time if the first is suspicious: a record may have changed."""
        subject = subject or SearchSubject(context)
        sample = self._take_once(subject, archive)
        if sample.is_suspicious:
            sample = self._take_once(subject, archive)
        if subject == SearchSubject(context):
            self._samples[context, archive] = sample
        return sample

    def _take_once(self, subject: SearchSubject, archive: bool) -> _Sample:
        is_large = subject == SearchSubject("customer")
        size = PAGE_SIZE if is_large else _FEW
        ask = _Question(subject, sort="asc", size=size, archive=archive)
        first = self._client.find(ask.between(0, None))
        moments = first.moments
        if len(moments) < _LEAST_MOMENTS:
            return _Sample(subject, first)
        low = max(1, len(moments) * 3 // 8)
        high = max(low + 1, len(moments) * 5 // 8)
        lower, upper = moments[low], moments[high]
        window = self._client.find(ask.between(lower, upper))
        sample = _Sample(subject, first, window, lower, upper)
        if not is_large:
            return sample
        if first.is_last:
            behind = self._client.find(ask.between(max(moments), None))
            return replace(sample, behind=behind)
        page = replace(ask.between(0, None), page=2, size=max(10, min(_FEW, len(first.rows) // 4)))
        return replace(sample, second=self._client.find(page))

    # What exactness rests on.

    def _check_searches(self) -> Iterator[Check]:
        for archive, place in ((False, "search"), (True, "archive")):
            samples = {
                context: sample
                for (context, of_archive), sample in self._samples.items()
                if of_archive is archive
            }
            yield _check_samples(
                Assumption(f"lower bound, {place}", _LOWER, exactness=True),
                samples,
                {context: sample.before for context, sample in samples.items()},
                "{} rows outside or left out",
            )
            yield _check_samples(
                Assumption(f"upper bound, {place}", _UPPER, exactness=True),
                samples,
                {context: sample.after for context, sample in samples.items()},
                "{} rows at it or behind it",
            )
            yield _check_samples(
                Assumption(f"ascending order, {place}", _ORDER, exactness=True),
                samples,
                {
                    context: not sample.is_ordered
                    or (not archive and sample.first.answer.status in _NOT_SERVED)
                    for context, sample in samples.items()
                },
                "not in order, or refused",
            )
            yield _check_samples(
                Assumption(f"nothing cut without a word, {place}", _WHOLE, exactness=True),
                samples,
                {context: sample.cut for context, sample in samples.items()},
                "{} rows that one answer shows and another lacks",
            )
        yield self._check_created()
        ties = [
            agrees
            for (_, archive), sample in self._samples.items()
            if not archive
            for agrees in sample.ties()
        ]
        order = Assumption("order of ties", "the same in two answers; no read relies on it")
        if ties:
            same = sum(ties)
            yield order.judged(all(ties), f"the same in {same} of {len(ties)} groups")
        else:
            yield order.unseen("no rows with the same moment")

    def _check_created(self) -> Check:
        return self._check_tiebreak(
            Assumption("customer_created_at", "gte and lt part ties by it", exactness=True),
            self._samples["customer", False],
            "created_at",
        )

    def _check_tiebreak(self, assumption: Assumption, sample: _Sample, attribute: str) -> Check:
        """Whether a search by this attribute alone shows one moment of it, and nothing else."""
        subject = replace(sample.subject, cursor=attribute, cursor_path=camel_case(attribute))
        base = sample.first
        if not base.rows:
            base = self._client.find(_Question(subject))
        rows = [row for one in base.resources if (row := _row(one, subject.cursor_path))]
        if not rows:
            return assumption.unseen(self._why(base))
        known = rows[len(rows) // 2]
        page = self._client.find(_Question(subject).between(known.at, known.at + 1))
        if page.answer.status in _NOT_SERVED:
            return assumption.fails(f"refused: {page.answer.outcome}")
        if page.problem:
            return assumption.unseen(self._why(page))
        outside = sum(row.at != known.at for row in page.rows)
        if outside:
            return assumption.fails(f"{outside} of {page.count} rows outside of the bounds")
        is_found = known.id in page.ids or page.count == page.size
        return assumption.judged(
            is_found,
            f"{page.count} rows, a known one among them" if is_found else "a known row is left out",
        )

    def _check_seam(self) -> Iterator[Check]:
        allowed = Assumption("archive allowed", "the key and the plan may search it")
        seam = Assumption(
            "seam between search and archive",
            "each record in one of them, within a week of the border",
            exactness=True,
        )
        begins = Assumption("where the archive begins", "two years ago, within a week")
        first = self._samples["customer", True].first
        if first.problem:
            why = f"{first.problem}; the key needs the role {Customers.role}, or the plan lacks it"
            yield allowed.fails(why) if first.answer.status else allowed.unseen(why)
            yield seam.unseen(f"the archive answers {first.problem}")
            yield begins.unseen(f"the archive answers {first.problem}")
            return
        yield allowed.holds(first.answer.outcome)
        border = int(first.answer.vendor_time * 1000) - HORIZON
        customers = _Question(SearchSubject("customer"), sort="asc", size=2 * _FEW)
        lower, upper = border - SEAM, border + SEAM
        near = customers.between(None, border + _NEIGHBOURHOOD)
        search = self._client.find(near)
        if not search.problem and not search.ascends():
            # The oldest rows are needed, in whatever order they come.
            search = self._client.find(replace(near, size=PAGE_SIZE))
        ask = replace(customers, archive=True, sort="desc")
        archive = self._client.find(ask.between(border - _NEIGHBOURHOOD, upper))
        newer = self._client.find(replace(ask, size=1).between(upper, None))
        if search.problem or archive.problem or newer.problem:
            why = search.problem or archive.problem or newer.problem
            yield seam.unseen(why)
            yield begins.unseen(why)
            return
        yield self._judge_seam(seam, search, archive, newer, (lower, upper))
        now = border + HORIZON
        ages = [
            f"the archive's newest record is {_days(now - max(page.moments))} old"
            for page in (newer, archive)
            if page.rows
        ][:1]
        if search.rows:
            ages.append(f"the search's oldest is {_days(now - min(search.moments))} old")
        is_late = any(row.at < lower for row in search.rows)
        is_early = any(row.at >= upper for row in newer.rows)
        if is_late or is_early:
            yield begins.fails(", ".join(ages))
        elif search.rows and archive.rows:
            yield begins.holds(", ".join(ages))
        else:
            yield begins.unseen("no customer near the border in one of the two")

    def _judge_seam(
        self,
        seam: Assumption,
        search: _Page,
        archive: _Page,
        newer: _Page,
        around: tuple[EpochMs, EpochMs],
    ) -> Check:
        lower, upper = around
        # Behind the seam one search alone is read.
        old = [row for row in search.rows if row.at < lower]
        new = [row for row in newer.rows if row.at >= upper]
        for rows, is_archive, words in (
            (old, True, "older than the seam and not in the archive"),
            (new, False, "newer than the seam and in the archive alone"),
        ):
            if rows and not self._has(rows[0], archive=is_archive):
                return seam.fails(f"a customer is {words}")
        return _judge_gap(seam, search.moments, [at for at in archive.moments if at < upper])

    def _has(self, row: _Row, *, archive: bool) -> bool:
        ask = _Question(SearchSubject("customer"), sort="asc", archive=archive)
        page = self._client.find(ask.between(row.at, row.at + 1))
        return row.id in page.ids or bool(page.problem)

    # What a page says.

    def _check_pages(self) -> Iterator[Check]:
        sizes = Assumption("page size granted", f"{PAGE_SIZE} rows, in search and archive")
        counts = Assumption("what the count says", "the number of rows, also above 10,000")
        links = Assumption("links at the end", _GOES_ON)
        sample = self._samples["customer", False]
        pages = [sample.first, self._samples["customer", True].first]
        if sample.problem:
            for assumption in (sizes, counts, links):
                yield assumption.unseen(self._why(sample.first))
            return
        long = [page for page in pages if page.count == page.size or not page.is_last]
        long = [page for page in long if not page.problem]
        if long:
            words = ", ".join(f"{page.count} (meta.pageSize {page.granted})" for page in long)
            are_full = all(page.count == page.size for page in long)
            yield sizes.judged(are_full, words)
        else:
            yield sizes.unseen(f"fewer than {PAGE_SIZE} customers")
        # Whatever its bounds do: a page with room for more rows shows all of its result.
        windows = [
            one.window
            for (_, archive), one in self._samples.items()
            if not archive and not one.problem and one.window is not None
        ]
        short = next((page for page in windows if page.count < page.size), None)
        if short is None:
            yield counts.unseen("no window fits on a page")
            yield links.unseen("no window fits on a page")
            return
        total = sample.first.total
        if total is None or short.total is None:
            yield counts.fails("no count under meta.total")
        else:
            seen = f"{short.total} for {short.count} rows, {total} in all"
            # Exactly the depth of a search: it counts no further.
            yield counts.judged(short.total == short.count and total != MAX_ROWS, seen)
        before = sample.second
        middle = "a link" if before is None else before.link
        seen = "" if before is None else f"{middle} in the middle, "
        is_right = middle == "a link" and short.link == "null"
        yield links.judged(is_right, f"{seen}{short.link} at the end")

    def _check_depth(self) -> Iterator[Check]:
        by_page = Assumption(
            "depth limit by page", f"page {MAX_PAGES} is served, page {MAX_PAGES + 1} is not"
        )
        by_row = Assumption(
            "depth limit by row", f"row {MAX_ROWS:,} is served, and a page behind it is not"
        )
        samples = [
            sample
            for (_, archive), sample in self._samples.items()
            if not archive and not sample.first.problem
        ]
        if not samples:
            why = self._why(self._samples["customer", False].first)
            yield by_page.unseen(why)
            yield by_row.unseen(why)
            return
        largest = max(samples, key=lambda sample: sample.first.total or sample.first.count)
        total = largest.first.total
        if total == MAX_ROWS:
            total = None  # capped
        ask = _Question(largest.subject, sort="asc").between(0, None)
        for assumption, size, behind in (
            (by_page, 1, replace(ask, page=MAX_PAGES + 1, size=1)),
            (by_row, MAX_ROWS // MAX_PAGES, replace(ask, page=MAX_PAGES, size=_ROW_BEHIND_PAGES)),
        ):
            need = (behind.page - 1) * behind.size + 1
            if total is not None and total < need:
                yield assumption.unseen(f"{total:,} records of the largest kind")
                continue
            last = self._client.find(replace(ask, page=MAX_PAGES, size=size))
            yield _judge_depth(assumption, last, self._client.find(behind), total)

    def _check_headers(self) -> Iterator[Check]:
        present = Assumption(
            "rate-limit headers", "x-ratelimit-limit and x-ratelimit-remaining are whole numbers"
        )
        form = Assumption("form of x-ratelimit-reset", "epoch seconds, or left out")
        search = self._samples["customer", False].first.answer
        users = self._list("users", {"page": "1", "pageSize": "1"}).answer
        answers = [
            (name, one) for name, one in (("a search", search), ("a list", users)) if one.is_good
        ]
        yield check_clock(answers[0][1] if answers else search)
        if not answers:
            for assumption in (present, form):
                yield assumption.unseen(search.outcome)
            return
        limits, are_numbers = [], True
        for name, answer in answers:
            values = [
                answer.headers.get(f"x-ratelimit-{part}", "") for part in ("limit", "remaining")
            ]
            is_number = all(value.isascii() and value.isdigit() for value in values)
            are_numbers &= is_number
            words = "absent" if not any(values) else "another form"
            limits.append(f"{'/'.join(values[::-1]) if is_number else words} of {name}")
        yield present.judged(are_numbers, ", ".join(limits))
        forms = {
            form_of(answer.headers["x-ratelimit-reset"], answer.vendor_time)
            for _, answer in answers
            if "x-ratelimit-reset" in answer.headers
        }
        yield form.judged(forms <= {"epoch seconds"}, ", ".join(sorted(forms)) or "left out")

    # Deleted records, and late ones.

    def _check_deleted(self) -> Iterator[Check]:
        found = Assumption("deleted records found", "includeDeleted shows them")
        hidden = Assumption("deleted records left out", "without includeDeleted none is shown")
        ask = _Question(SearchSubject("customer"), (("deleted", "equals", True),), size=5)
        without, shown = self._client.find(ask), self._client.find(replace(ask, deleted=True))
        for page, assumption in ((shown, found), (without, hidden)):
            if page.problem:
                refused = page.answer.status in _NOT_SERVED
                words = self._why(page)
                yield assumption.fails(words) if refused else assumption.unseen(words)
        if shown.problem or without.problem:
            return
        exist = bool(shown.resources)
        if shown.resources:
            marked = sum(_is_deleted(one) for one in shown.resources)
            yield found.judged(marked == shown.count, f"{marked} of {shown.count} rows are marked")
        else:
            exist, is_found = self._search_deleted()
            if exist:
                words = "found" if is_found else "not found"
                yield found.judged(is_found, f"a record that the audit log calls deleted: {words}")
            else:
                yield found.unseen("no deleted customer, and no deletion in the audit log")
        if without.count or exist:
            yield hidden.judged(not without.count, f"{without.count} shown")
        else:
            yield hidden.unseen("no deleted record is known")

    def _search_deleted(self) -> tuple[bool, bool]:
        """Whether the audit log tells of a deletion, and whether a search finds that record."""
        for entry in self._audit_log({}).resources:
            of = _part(entry, "attributes")
            kind, ident = of.get("objectType"), of.get("objectId")
            is_deletion = str(of.get("eventVerb")).startswith("delet")
            if is_deletion and kind in _CONTEXTS and isinstance(ident, str):
                subject = SearchSubject(str(kind))
                page = self._client.find(
                    _Question(subject, (("id", "equals", ident),), size=1, deleted=True)
                )
                if not page.problem:
                    return True, bool(page.count)
        return False, False

    def _newest(self) -> _Page:
        now = int(self._samples["customer", False].first.answer.vendor_time * 1000)
        ask = _Question(SearchSubject("conversation"), sort="desc", size=2 * _FEW)
        return self._client.find(ask.between(now - _RECENT, None))

    def _check_lag(self, early: _Page) -> Check:
        lag = Assumption("index lag of the newest rows", f"at most {INDEX_LAG // 1000} s")
        late = self._newest()
        if early.problem or late.problem:
            return lag.unseen(self._why(early if early.problem else late))
        then, now = (int(page.answer.vendor_time * 1000) for page in (early, late))
        arrived = [
            then - row.at
            for row in late.rows
            if row.at < then - 1000
            and row.id not in early.ids
            and (not early.rows or early.count < early.size or row.at > min(early.moments))
        ]
        if any(one > INDEX_LAG for one in arrived):
            return lag.fails(f"rows became visible more than {max(arrived) // 1000} s late")
        youngest = min(
            (at - max(page.moments) for page, at in ((early, then), (late, now)) if page.rows),
            default=None,
        )
        if youngest is None or youngest > INDEX_LAG:
            return lag.unseen("no conversation changed in the last two minutes")
        seen = f"the newest conversation was {max(0, youngest) // 1000} s old"
        if arrived:
            seen += f", some came more than {max(arrived) // 1000} s late"
        return lag.holds(seen)

    # What is not documented.

    def _check_attributes(self) -> Iterator[Check]:
        for stream in STREAMS:
            guarded: type[SearchStream] | None = (
                stream if issubclass(stream, SearchStream) and stream.is_guarded else None
            )
            while guarded is not None:
                cursor = guarded.cursor_attribute
                subject = SearchSubject(
                    guarded.query_context,
                    cursor,
                    cursor_path=guarded.cursor_path or camel_case(cursor),
                )
                sample = self._take(subject.context, subject=subject)
                self._answers.setdefault(stream.name, sample.first.answer)
                name = subject.attribute(cursor)
                assumption = Assumption(name, "bounds and order are respected")
                yield self._judge_attribute(sample, assumption)
                fallback = getattr(guarded, "fallback", None)
                is_search = fallback is not None and issubclass(fallback, SearchStream)
                if cursor == "updated_at":
                    yield self._check_tiebreak(
                        Assumption(f"{subject.context}_created_at", "gte and lt are respected"),
                        sample,
                        "created_at",
                    )
                guarded = fallback if is_search else None

    def _check_klass(self) -> Check:
        """Whether custom objects of one klass can be searched alone. The klass is not named."""
        assumption = Assumption(
            "kobject_<klass> by kobject_updated_at", "records of the klass, in bounds and order"
        )
        kobjects = self._samples["kobject", False].first
        kinds = [str(one.get("type")) for one in kobjects.resources]
        kind = next((one for one in kinds if one.startswith("kobject.")), "")
        if not kind:
            return assumption.unseen(self._why(kobjects))
        subject = SearchSubject(kind.replace(".", "_", 1), attribute_context="kobject")
        sample = self._take(subject.context, subject=subject)
        pages = [page for page in (sample.first, sample.window) if page is not None]
        strangers = sum(one.get("type") != kind for page in pages for one in page.resources)
        if strangers:
            return assumption.fails(f"{strangers} records of other klasses")
        return self._judge_attribute(sample, assumption)

    def _judge_attribute(self, sample: _Sample, assumption: Assumption) -> Check:
        subject, first = sample.subject, sample.first
        outside = 0 if sample.problem else sample.before + sample.after
        if first.answer.status in _NOT_SERVED:
            check = assumption.fails(f"refused: {first.answer.outcome}")
        elif first.problem:
            check = assumption.unseen(self._why(first))
        elif not sample.is_ordered:
            check = assumption.fails("rows are not in its order")
        elif outside:
            check = assumption.fails(f"{outside} rows outside of its bounds")
        elif not sample.problem and sample.window is not None:
            check = assumption.holds(f"{first.count} and {sample.window.count} rows as asked")
        elif not first.rows and self._client.find(_Question(subject)).rows:
            check = assumption.fails("it shows no row, but a search without it does")
        else:
            check = assumption.unseen(f"{len(first.moments)} different moments: too few records")
        return check

    def _check_lists(self) -> Iterator[Check]:
        for endpoint in ("companies", "routing/work-sessions", "kb/articles"):
            page = self._list(endpoint, {"page": "1", "pageSize": "1"})
            assumption = Assumption(f"GET /v1/{endpoint}", "a list")
            yield self._judge_list(assumption, page, _role_of(endpoint))
        yield self._check_versions()
        yield self._check_parameter("klasses", "status", ("", "existing_only", "disabled"))
        yield self._check_parameter("sub-statuses", "resourceType", ("conversation", "kobject"))
        yield from self._check_log()
        metadata = self._client.ask("GET", "metadata/customer", bucket=LISTS)
        self._answers[CustomAttributes.name] = metadata
        assumption = Assumption("GET /v1/metadata/customer", "attributes under 'properties'")
        data = _part(metadata.body, "data")
        if metadata.is_good:
            properties = _part(data, "attributes").get("properties")
            words = "properties" if isinstance(properties, dict) else "none"
            yield assumption.judged(isinstance(properties, dict), words)
        else:
            page = _Page(metadata, 1, is_understood=False)
            yield self._judge_list(assumption, page, CustomAttributes.role)

    def _judge_list(self, assumption: Assumption, page: _Page, role: str) -> Check:
        if page.answer.is_not_allowed or not page.answer.status:
            return assumption.unseen(self._why(page, role))
        if page.problem:
            return assumption.fails(page.problem)
        return assumption.holds(f"{page.answer.outcome}, {page.count} rows")

    def _check_versions(self) -> Check:
        assumption = Assumption("GET /v1/slas?versions=all", "a list, with its versions included")
        page = self._list("slas", {"versions": "all", "page": "1", "pageSize": "1"})
        check = self._judge_list(assumption, page, _role_of("slas"))
        if page.problem:
            return check
        if not page.count:
            return assumption.unseen("no SLA")
        included = page.answer.body.get("included")
        count = len(included) if isinstance(included, list) else int(bool(included))
        return assumption.judged(count > 0, f"{page.count} row, {count} included")

    def _check_parameter(self, endpoint: str, name: str, values: Sequence[str]) -> Check:
        """Whether lists with different values of a parameter differ."""
        assumption = Assumption(f"GET /v1/{endpoint}?{name}=", "each value has rows of its own")
        paging = {"page": "1", "pageSize": "100"}
        asked = {"(none)": paging} if "" in values else {}
        asked |= {value: {name: value, **paging} for value in values if value}
        pages = {value: self._list(endpoint, params) for value, params in asked.items()}
        for value, page in pages.items():
            if page.answer.is_not_allowed or not page.answer.status:
                return assumption.unseen(self._why(page, _role_of(endpoint)))
            if page.problem:
                return assumption.fails(f"{value}: {page.problem}")
        seen = ", ".join(f"{value}: {page.count} rows" for value, page in pages.items())
        sets = [{str(one.get("id")) for one in page.resources} for page in pages.values()]
        if any(one & other for place, one in enumerate(sets) for other in sets[place + 1 :]):
            return assumption.fails(f"{seen}, the same ones")
        return assumption.holds(seen) if any(sets) else assumption.unseen("no rows")

    def _check_log(self) -> Iterator[Check]:
        filters = Assumption("audit-logs: filter[start], filter[end]", "entries of that time")
        before = Assumption("audit-logs: before", "entries behind the one it names")
        log = self._audit_log({})
        self._answers[AuditLogs.name] = log.answer
        moments = log.moments
        if log.problem or len(moments) < _LEAST_MOMENTS:
            if log.answer.status in _NOT_SERVED:
                yield filters.fails(f"refused: {log.problem}")
            else:
                yield filters.unseen(
                    self._why(log, AuditLogs.role) if log.problem else f"{len(moments)} entries"
                )
            yield before.unseen(
                self._why(log, AuditLogs.role) if log.problem else f"{len(moments)} entries"
            )
            return
        lower, upper = moments[len(moments) // 2], moments[len(moments) // 2] + 1000
        bounds = {"filter[start]": format_instant(lower), "filter[end]": format_instant(upper)}
        page = self._audit_log(bounds)
        outside = sum(not lower - 1000 <= row.at <= upper + 1000 for row in page.rows)
        if page.problem:
            yield filters.fails(f"refused: {page.problem}")
        else:
            yield filters.judged(not outside, f"{page.count} entries, {outside} outside")
        known = sorted(log.rows, key=lambda row: -row.at)
        named = known[len(known) // 2]
        page = self._audit_log({"before": named.id})
        newer = sum(row.at > named.at for row in page.rows)
        if page.problem:
            yield before.fails(f"refused: {page.problem}")
        else:
            itself = " and the entry itself" if named.id in page.ids else ""
            yield before.judged(not newer, f"{page.count} entries, {newer} newer ones{itself}")

    def _audit_log(self, params: Mapping[str, str]) -> _Page:
        return self._list(AuditLogs.endpoint, {"count": "100", **params})

    # What the key may read.

    def _check_streams(self) -> Iterator[Check]:
        for stream in STREAMS:
            assumption = Assumption(f"may read {stream.name}", "not refused")
            answer = self._answer_of(stream)
            if answer is None:
                yield assumption.unseen("no record to ask for")
            elif answer.is_not_allowed:
                yield assumption.fails(f"{answer.outcome}; it needs {stream.role}")
            elif not answer.status:
                yield assumption.unseen(answer.outcome)
            else:
                other = "" if answer.is_good else ", which is no matter of roles"
                yield assumption.holds(f"{answer.outcome}{other}")

    def _answer_of(self, stream: type[KustomerStream]) -> Answer | None:
        if stream.name in self._answers:
            return self._answers[stream.name]
        if issubclass(stream, SearchStream):
            return self._samples[stream.query_context, False].first.answer
        if issubclass(stream, IncludedStream):
            return self._answer_of(stream.container)
        if issubclass(stream, ChildStream):
            parents = self._samples[stream.parent.query_context, False].first.rows
            if not parents:
                return None
            endpoint = stream.endpoint.format(id=parents[-1].id)
            return self._list(endpoint, {"page": "1", "pageSize": "1"}).answer
        params = {"page": "1", "pageSize": "1"}
        if issubclass(stream, ListStream):
            params = {**dict(parse_qsl(stream.params)), **params}
        return self._list(stream.endpoint, params).answer

    def _list(self, endpoint: str, params: Mapping[str, str]) -> _Page:
        """A page of a list, asked for once."""
        key = (endpoint, tuple(sorted(params.items())))
        if key not in self._lists:
            self._lists[key] = self._client.list_(endpoint, params)
        return self._lists[key]

    def _why(self, page: _Page, role: str = SearchStream.role) -> str:
        """Why nothing can be seen on a page."""
        if page.answer.is_not_allowed:
            return f"{page.answer.outcome}; the key needs the role {role}"
        return page.problem or "no records"


def _check_samples(
    assumption: Assumption,
    samples: Mapping[str, _Sample],
    failures: Mapping[str, int],
    words: str,
) -> Check:
    """One line over several kinds of record."""
    failed = [f"{name}: {words.format(count)}" for name, count in failures.items() if count]
    if failed:
        return assumption.fails("; ".join(failed))
    good = [name for name, sample in samples.items() if not sample.problem]
    bad = [f"{name}: {one.problem}" for name, one in samples.items() if one.problem]
    if good:
        return assumption.holds("; ".join([", ".join(good), *bad]))
    return assumption.unseen("; ".join(bad))


def _judge_gap(seam: Assumption, search: list[EpochMs], archive: list[EpochMs]) -> Check:
    """Whether more time without a record is between the searches than anywhere near them."""
    if not search or not archive:
        return seam.unseen("no customer within four weeks of the border in one of the two")
    gap = min(search) - max(archive)
    if gap <= 0:
        return seam.holds("both show records of the same time")
    if min(len(search), len(archive)) < _LEAST_NEIGHBOURS:
        return seam.unseen(f"{_days(gap)} without a customer between them; too few to judge")
    usual = max(later - earlier for side in (search, archive) for earlier, later in pairwise(side))
    seen = f"{_days(gap)} without a customer between them, elsewhere up to {_days(usual)}"
    if usual < gap <= 2 * usual:
        return seam.unseen(seen)
    return seam.judged(gap <= usual, seen)


def _judge_depth(assumption: Assumption, last: _Page, behind: _Page, total: int | None) -> Check:
    is_refused = behind.answer.status in _NOT_SERVED
    if last.answer.status in _NOT_SERVED:
        check = assumption.fails(f"the last page is refused: {last.answer.outcome}")
    elif last.problem or not (behind.answer.is_good or is_refused):
        check = assumption.unseen(last.problem or behind.problem)
    elif not last.count and total is not None:
        check = assumption.fails("the last page is empty")
    elif is_refused and last.count:
        check = assumption.holds(f"the page behind: {behind.answer.outcome}")
    elif behind.granted is not None and behind.granted < behind.size:
        check = assumption.unseen(f"pages of {behind.granted} rows at most")
    elif behind.count:
        check = assumption.fails("what is behind is served too")
    elif total is None or not last.count:
        check = assumption.unseen("too few records, or no count of them")
    else:
        check = assumption.holds("the page behind is empty")
    return check


def _is_deleted(resource: Mapping[str, Any]) -> bool:
    attributes = _part(resource, "attributes")
    return attributes.get("deleted") is True or bool(attributes.get("deletedAt"))


def _role_of(endpoint: str) -> str:
    """The role for a list, from the stream or the fallback that reads it."""
    for stream in STREAMS:
        for one in (stream, getattr(stream, "fallback", None)):
            if one is not None and getattr(one, "endpoint", "") == endpoint:
                return str(one.role)
    return "that reads it"


def _days(span: EpochMs) -> str:
    if abs(span) < 2 * _DAY:
        return f"{span * 24 / _DAY:.1f} hours"
    return f"{span / _DAY:.1f} days"
