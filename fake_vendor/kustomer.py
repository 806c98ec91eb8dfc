"""Kustomer as a connector sees it: search, archive search and lists, read only."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from random import Random
from threading import RLock
from typing import Any, Literal
from urllib.parse import unquote

import orjson

from fake_vendor.clock import Clock, http_date, to_ms
from fake_vendor.data import (
    CHILD_KINDS,
    CHILD_LISTS,
    EVENT_KINDS,
    EVENT_PATHS,
    INCLUDED,
    INCLUDED_KINDS,
    LIST_KINDS,
    LIST_PAGE_SIZES,
    ORG_ID,
    PATHS,
    PLURALS,
    SEARCH_KINDS,
    SEARCHED_LISTS,
    SETTING_KINDS,
    Record,
    grow,
    metadata,
    object_id,
)
from fake_vendor.faults import Fault, FaultPlan, broken
from fake_vendor.journal import Entry, Journal
from fake_vendor.limits import (
    Limiter,
    ResetForm,
    Verdict,
    WindowKind,
    spell_reset,
)
from fake_vendor.search import (
    FAR_MS,
    BadQueryError,
    Broken,
    Index,
    KlassSearch,
    Undocumented,
    read_query,
)
from fake_vendor.switches import switched
from fake_vendor.wire import Reply, Request, json_reply, raw_reply

DEMO_TOKEN = "kustomer-demo-token"

_LIST_PATHS = {f"/v1/{PATHS[kind]}": kind for kind in (*LIST_KINDS, *SETTING_KINDS)}
_LIST_PATHS |= {f"/v1/{path}": kind for path, kind in SEARCHED_LISTS.items()}
_CHILD_PATHS = {
    (PLURALS[parent], PLURALS[child]): name for name, (parent, child) in CHILD_LISTS.items()
}
_DEFAULT_PAGE_SIZE = 100
_SEARCHES = {
    "/v1/customers/search": "search",
    "/v1/customers/archive/search": "archive_search",
}
_OTHER_PATHS = {"/v1/auth/tokens/current": "token", "/v1/users/current": "me"}
# The endpoints for which faults can be set.
ENDPOINTS = (
    *_SEARCHES.values(),
    *LIST_KINDS,
    *SETTING_KINDS,
    *SEARCHED_LISTS.values(),
    *CHILD_LISTS,
    *EVENT_KINDS,
    *("one_sla", "one_schedule", "one_conversation", "metadata"),
    *_OTHER_PATHS.values(),
)
# Endpoints for one object, found by its ID.
_ONE = frozenset({"one_sla", "one_schedule", "one_conversation"})
_BODY_MAX = 100_000
_DAY_MS = 86_400_000


_LISTED = frozenset({*LIST_KINDS, *SETTING_KINDS, *CHILD_LISTS, *SEARCHED_LISTS.values()})


@dataclass(frozen=True)
class KustomerSwitches:
    """How this Kustomer behaves where the real one is undocumented, limited or faulty."""

    latency_ms: float = 0
    error_shape: Literal["plain", "jsonapi"] = "plain"
    # Access.
    expired: bool = False
    wrong_pod: bool = False
    search_refusal: Literal[0, 401, 403] = 0
    # Endpoints for which the key has no role.
    refused: tuple[str, ...] = ()
    archive_refusal: Literal[0, 401, 403, 404] = 0
    # Depth. The limit of 100 pages is documented. Other readers saw a limit of 10,000 rows.
    page_size_max: int = 500
    page_cap: int = 100
    row_cap: int = 10_000
    past_cap: Literal[404, 400, "empty"] = 404
    next_links: Literal["promise", "honest", "null", "missing"] = "promise"
    total: Literal["honest", "capped", "missing"] | int = "honest"
    list_total: bool = False
    # Which included rows a list shows: all that belong to its rows, only the first, or none.
    included: Literal["all", "first", "none"] = "all"
    # Paths of lists that this Kustomer does not have.
    missing_lists: tuple[str, ...] = ()
    # Whether a log uses its filters, and whether a page `before` an entry contains that entry.
    log_filters: bool = True
    log_before: Literal["exclusive", "inclusive", "ignored"] = "exclusive"
    # Which records a search finds, and in which order.
    horizon_days: int = 730
    archive_scope: Literal["old", "all"] = "old"
    tie_order: Literal["stable", "shuffled"] = "stable"
    second_sort_key: bool = False
    # What a search does wrong, each as `<endpoint>:<attribute or context>` and for bounds with the
    # operator: `search:customer_updated_at:gte`. Bounds that it ignores or shifts (gte to gt, lt to
    # lte), orders that it turns round or refuses, and contexts whose results lack every 100th row,
    # or are cut at 100 rows, without a word in the counts and links.
    ignored_bounds: tuple[str, ...] = ()
    shifted_bounds: tuple[str, ...] = ()
    reversed_orders: tuple[str, ...] = ()
    refused_orders: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    silent_cuts: tuple[str, ...] = ()
    # Days before the horizon whose records are in neither search.
    archive_gap_days: float = 0
    # Whether `includeDeleted` is supported, ignored, or taken for granted.
    deleted: Literal["supported", "ignored", "always"] = "supported"
    # Parameters of lists that are ignored, as `klass:status`.
    ignored_parameters: tuple[str, ...] = ()
    # What a search does with undocumented attributes, except those in `supported`.
    undocumented: Undocumented = "supported"
    supported: tuple[str, ...] = ()
    # What happens to searches in the context of one klass.
    klass_search: KlassSearch = "supported"
    # Size. Bytes of text that every row gets, and the bytes at which every page is cut short.
    row_bytes: int = 0
    page_bytes: int | None = None
    # Changes during a read.
    index_lag_seconds: float = 0
    hard_delete: bool = False
    touch_count: int = 0
    touch_every: int = 0
    touch_contexts: tuple[str, ...] = SEARCH_KINDS
    # Limits. The real ones are 1,000 requests a minute for an Enterprise org, and 100 searches.
    org_limit: int | None = None
    search_limit: int | None = None
    others_per_minute: int = 0
    window_s: float = 60
    window: WindowKind = "fixed"
    search_headers: Literal["org", "search"] = "org"
    reset_when: Literal["always", "on429", "never"] = "on429"
    reset_form: ResetForm = "epoch"
    retry_after: Literal["none", "seconds", "http_date"] = "none"
    limit_form: Literal["number", "text"] = "number"
    # How far the `Date` header is ahead of the clock.
    clock_skew_seconds: float = 0
    faults: tuple[Fault, ...] = ()


@dataclass
class _Trace:
    """What the journal records about a request. It is filled while the request is answered."""

    endpoint: str
    page: int = 0
    page_size: int = 0
    context: str = ""
    criteria: Any = None
    rows: int = 0


class Kustomer:
    """One Kustomer org. `handle` answers requests. All other methods are for tests."""

    def __init__(
        self,
        rows: int | Mapping[str, int] = 200,
        *,
        list_rows: int | Mapping[str, int] = 25,
        setting_rows: int | Mapping[str, int] = 3,
        child_rows: int | Mapping[str, int] = 0,
        event_rows: int | Mapping[str, int] = 0,
        seed: int = 7,
        years: float = 3,
        ties: tuple[int, ...] = (),
        token: str = DEMO_TOKEN,
        switches: KustomerSwitches | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Make an org with the given numbers of rows per kind.

        The keys of a mapping are singular kinds ("customer", "tag"). A kind without a key has no
        rows. `years` is how far back updatedAt reaches. `ties` gives the sizes of groups of rows
        that share one updatedAt, in every search context that has rows.
        """
        self.switches = switches or KustomerSwitches()
        self.clock = clock or Clock()
        self.token = token
        self.journal = Journal()
        self._lock = RLock()
        self._random = Random(f"{seed}/behaviour")
        now_ms = self.clock.ms()
        self._truth: dict[str, dict[str, Record]] = {}
        groups_of_kinds = (
            (SEARCH_KINDS, rows),
            (LIST_KINDS, list_rows),
            ((*SETTING_KINDS, *INCLUDED_KINDS), setting_rows),
            (CHILD_KINDS, child_rows),
            (EVENT_KINDS, event_rows),
        )
        for kinds, counts in groups_of_kinds:
            if not isinstance(counts, int) and (unknown := sorted(counts.keys() - set(kinds))):
                raise ValueError(f"no such kind: {', '.join(unknown)}; there are {kinds}")
            for kind in kinds:
                count = counts if isinstance(counts, int) else counts.get(kind, 0)
                groups = ties if kind in SEARCH_KINDS else ()
                grown = grow(kind, count, seed=seed, now_ms=now_ms, years=years, ties=groups)
                self._truth[kind] = {record.id: record for record in grown}
        self._ids = {kind: list(records) for kind, records in self._truth.items()}
        for kind in (*LIST_KINDS, *SETTING_KINDS):
            by_creation = sorted(self._truth[kind].values(), key=lambda one: one.created_ms)
            self._truth[kind] = {record.id: record for record in by_creation}
        self._indexes = {kind: Index(self._truth[kind].values()) for kind in SEARCH_KINDS}
        self._counts = {kind: len(records) for kind, records in self._truth.items()}
        self._families = dict(self._counts)
        self._order = max(self._counts.values(), default=0)
        self._unindexed: list[tuple[int, int, str, str, Record | None]] = []
        self._indexed_order: dict[str, int] = {}
        # The definitions of custom attributes: kind of record -> name -> definition.
        self.metadata = metadata()
        self._plan = FaultPlan()
        self._org_limiter = Limiter()
        self._search_limiter = Limiter()
        self._searches = 0

    # For tests and for the control endpoints.

    def switch(self, **changes: Any) -> None:
        """Change switches by name."""
        with self._lock:
            self.switches = switched(self.switches, changes)

    def records(self, kind: str) -> list[Record]:
        """Return every object of a kind as it is now. A search may not show it yet."""
        with self._lock:
            return list(self._truth[kind].values())

    def children(self, child_list: str, parent_id: str) -> list[Record]:
        """Return the objects in a list below a parent. The parent of a child never changes."""
        parent_kind, child_kind = CHILD_LISTS[child_list]
        with self._lock:
            families = max(1, self._families[parent_kind])
            number = self._truth[parent_kind][parent_id].number
            return [
                child
                for child in self._truth[child_kind].values()
                if child.number * 7919 % families == number
            ]

    def beside(self, kind: str, row: Record) -> list[Record]:
        """Return the objects of a kind that are included with a row. Each belongs to one row."""
        beside = INCLUDED[kind].beside
        with self._lock:
            rows = max(1, self._counts[beside])
            return [one for one in self._truth[kind].values() if one.number % rows == row.number]

    def warm(self) -> None:
        """Make every row's JSON now, and not when it is first served."""
        for records in self._truth.values():
            for record in records.values():
                record.raw()

    def touch(self, kind: str, ident: str, at: datetime | None = None) -> Record:
        """Set the updatedAt of an object to `at` or now. Raises KeyError for an unknown id."""
        with self._lock:
            record = self._truth[kind][ident].changed(self._at(at), self._next_order())
            return self._keep(record)

    def touch_random(
        self, count: int, contexts: tuple[str, ...] = SEARCH_KINDS, at: datetime | None = None
    ) -> list[Record]:
        """Touch random records of these contexts, `count` in total."""
        with self._lock:
            stocked = [kind for kind in contexts if self._ids[kind]]
            picks = [self._random.choice(stocked) for _ in range(count)] if stocked else []
            return [self.touch(kind, self._random.choice(self._ids[kind]), at) for kind in picks]

    def insert(
        self,
        kind: str,
        at: datetime | None = None,
        *,
        created: datetime | None = None,
        indexed: bool = False,
        resource: Mapping[str, Any] | None = None,
    ) -> Record:
        """Add an object that was updated `at` (default: now) and `created` (default: `at`).

        `indexed` skips the index lag, to build a dataset by hand. `resource` replaces top-level
        keys of the JSON. Its `attributes` are merged into the generated ones.
        """
        with self._lock:
            number = self._counts[kind]
            self._counts[kind] += 1
            at_ms = self._at(at)
            born = to_ms(created) if created else at_ms
            ident = object_id(kind, number)
            order = self._next_order()
            record = Record(kind, number, ident, born, at_ms, at_ms, order, extra=resource)
            self._ids[kind].append(ident)
            return self._keep(record, indexed=indexed)

    def delete(self, kind: str, ident: str, at: datetime | None = None) -> None:
        """Mark an object as deleted, which moves its updatedAt. With `hard_delete`, remove it."""
        with self._lock:
            record = self._truth[kind][ident]
            if not self.switches.hard_delete:
                at_ms = self._at(at)
                self._keep(record.changed(at_ms, self._next_order(), deleted_ms=at_ms))
                return
            del self._truth[kind][ident]
            self._ids[kind].remove(ident)
            if kind in SEARCH_KINDS:
                self._announce(kind, ident, None, self.switches.index_lag_seconds)

    def _at(self, at: datetime | None) -> int:
        return to_ms(at) if at else self.clock.ms()

    def _next_order(self) -> int:
        self._order += 1
        return self._order

    def _keep(self, record: Record, *, indexed: bool = False) -> Record:
        self._truth[record.kind][record.id] = record
        if record.kind in SEARCH_KINDS:
            lag = 0 if indexed else self.switches.index_lag_seconds
            self._announce(record.kind, record.id, record, lag)
        return record

    def _announce(self, kind: str, ident: str, record: Record | None, lag_s: float) -> None:
        """Put a change into the search index, at once or after the index lag."""
        due = self.clock.ms() + int(lag_s * 1000)
        heapq.heappush(self._unindexed, (due, self._next_order(), kind, ident, record))
        self._catch_up()

    def _catch_up(self) -> None:
        now = self.clock.ms()
        while self._unindexed and self._unindexed[0][0] <= now:
            _, order, kind, ident, record = heapq.heappop(self._unindexed)
            if order < self._indexed_order.get(ident, 0):
                continue  # A later change was indexed first, because the lag became shorter.
            self._indexed_order[ident] = order
            if record is None:
                self._indexes[kind].drop(ident)
            else:
                self._indexes[kind].put(record)

    # Answering.

    def handle(self, request: Request) -> Reply:
        """Answer one request."""
        with self._lock:
            path = request.path.rstrip("/")
            trace = _Trace(_endpoint(request.method, path))
            reply, fault = self._answer(request, path, trace)
            status = 0 if reply.fault == "reset" else reply.status
            entry = Entry(
                number=len(self.journal.entries) + 1,
                at_s=self.clock.seconds(),
                method=request.method,
                path=request.path,
                endpoint=trace.endpoint,
                status=status,
                fault=fault,
                page=trace.page,
                page_size=trace.page_size,
                context=trace.context,
                criteria=trace.criteria,
                rows=trace.rows if status == 200 and not fault else 0,
            )
            self.journal.write(entry)
            date = http_date(self.clock.seconds() + self.switches.clock_skew_seconds)
            headers = reply.headers | {"date": date}
            return replace(reply, headers=headers, delay_s=self.switches.latency_ms / 1000)

    def _answer(self, request: Request, path: str, trace: _Trace) -> tuple[Reply, str]:
        if refusal := self._refuse_caller(request, trace.endpoint):
            return refusal, ""
        verdicts = self._count(trace.endpoint)
        headers = self._limit_headers(verdicts)
        if not all(verdict.allowed for verdict in verdicts):
            reply = self._error(429, "too_many_requests", "Rate limit exceeded")
            return replace(reply, headers=reply.headers | headers), ""
        fault = self._plan.next(trace.endpoint, self.switches.faults)
        if fault == "429":
            reply = self._error(429, "too_many_requests", "Rate limit exceeded")
        elif fault in ("500", "503"):
            reply = self._error(int(fault), "internal_error", "Something went wrong")
        elif trace.endpoint in ("search", "archive_search"):
            reply = self._search(request, path, trace, fault)
        elif trace.endpoint in _ONE:
            reply = self._one(request, path, trace)
        elif trace.endpoint == "metadata":
            reply = self._metadata(path)
        elif trace.endpoint in EVENT_KINDS:
            reply = self._log(request, trace)
        elif trace.endpoint in _LISTED:
            reply = self._list(request, path, trace, fault)
        else:
            reply = self._whoami(trace.endpoint)
        return broken(replace(reply, headers=reply.headers | headers), fault), fault

    def _refuse_caller(self, request: Request, endpoint: str) -> Reply | None:
        switches = self.switches
        if switches.wrong_pod:
            text = "Auth token associated with pod prod2 but request is being handled by prod1"
            return self._error(404, "not_found", text)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return self._error(401, "unauthorized", "Unauthorized")
        if switches.expired:
            return self._error(401, "unauthorized", "Expired token")
        if endpoint in ("search", "archive_search") and switches.search_refusal:
            return self._error(switches.search_refusal, "unauthorized", "Missing required role")
        if endpoint == "archive_search" and switches.archive_refusal:
            return self._error(switches.archive_refusal, "unauthorized", "Archive not available")
        if endpoint in switches.refused:
            return self._error(403, "forbidden", "Missing required role")
        if endpoint == "other":
            return self._error(404, "not_found", "Not found")
        return None

    def _count(self, endpoint: str) -> list[Verdict]:
        """Count a request for the org's limit. If it is allowed, count a search for its limit."""
        switches, now = self.switches, self.clock.seconds()
        limits = [(self._org_limiter, switches.org_limit, switches.others_per_minute)]
        if endpoint in ("search", "archive_search"):
            limits.append((self._search_limiter, switches.search_limit, 0))
        verdicts: list[Verdict] = []
        for limiter, limit, others in limits:
            if limit is not None and all(verdict.allowed for verdict in verdicts):
                verdicts.append(
                    limiter.take(
                        now,
                        limit,
                        window_s=switches.window_s,
                        kind=switches.window,
                        others_per_minute=others,
                    )
                )
        return verdicts

    def _limit_headers(self, verdicts: list[Verdict]) -> dict[str, str]:
        """Describe the limit that refused the request, or else the one of `search_headers`."""
        if not verdicts:
            return {}
        switches, now = self.switches, self.clock.seconds()
        refused = not verdicts[-1].allowed
        verdict = verdicts[-1] if refused or switches.search_headers == "search" else verdicts[0]
        headers = {
            "x-ratelimit-limit": str(verdict.limit),
            "x-ratelimit-remaining": str(verdict.remaining),
        }
        if switches.limit_form == "text":
            headers = {name: f"{value};w=60" for name, value in headers.items()}
        if switches.reset_when == "always" or (refused and switches.reset_when == "on429"):
            headers["x-ratelimit-reset"] = spell_reset(verdict.reset_s, now, switches.reset_form)
        if refused and switches.retry_after == "seconds":
            headers["retry-after"] = spell_reset(verdict.reset_s, now, "delta")
        elif refused and switches.retry_after == "http_date":
            headers["retry-after"] = spell_reset(verdict.reset_s, now, "http_date")
        return headers

    def _search(self, request: Request, path: str, trace: _Trace, fault: str) -> Reply:
        switches = self.switches
        archive = trace.endpoint == "archive_search"
        if len(request.body) > _BODY_MAX:
            return self._error(413, "request_too_large", "Request body is over 100 kB")
        try:
            query = read_query(
                request.body,
                archive=archive,
                undocumented=switches.undocumented,
                supported=switches.supported,
                klass_search=switches.klass_search,
                broken=Broken(
                    _of(trace.endpoint, switches.ignored_bounds),
                    _of(trace.endpoint, switches.shifted_bounds),
                    _of(trace.endpoint, switches.reversed_orders),
                    _of(trace.endpoint, switches.refused_orders),
                ),
            )
            page, size = _paging(request, switches.page_size_max)
        except BadQueryError as error:
            return self._error(400, "bad_request", str(error))
        trace.page, trace.page_size = page, size
        trace.context, trace.criteria = query.context, query.criteria
        self._churn()
        self._catch_up()
        rows: list[Record] = []
        start = (page - 1) * size
        beyond = self._beyond(page, size)
        if beyond and switches.past_cap != "empty":
            if switches.past_cap == 404:
                return self._error(404, "not_found", "Page not found")
            return self._error(400, "bad_request", "Result window is too large")
        if not switches.second_sort_key:
            query = replace(query, sort=query.sort[:1])
        edge = self.clock.ms() - switches.horizon_days * _DAY_MS
        if switches.deleted != "supported":
            query = replace(query, include_deleted=switches.deleted == "always")
        gap = int(switches.archive_gap_days * _DAY_MS)
        low, high = (edge, FAR_MS) if not archive else (-FAR_MS, edge - gap)
        if archive and switches.archive_scope == "all":
            high = FAR_MS
        shuffle = self._random if switches.tie_order == "shuffled" else None
        stop = start if beyond else start + size
        index = self._indexes[query.context]
        if query.context in _of(trace.endpoint, switches.gaps):
            everything, _ = index.page(
                query, low, high, 0, len(self._truth[query.context]), shuffle
            )
            left = [row for place, row in enumerate(everything) if place % 100 != 99]
            rows, total = left[start:stop], len(left)
        else:
            rows, total = index.page(query, low, high, start, stop, shuffle)
        if query.context in _of(trace.endpoint, switches.silent_cuts):
            rows, total = rows[: max(0, 100 - start)], min(total, 100)
        if fault == "timed_out":
            rows = rows[: len(rows) // 2]
        meta: dict[str, Any] = {"pageSize": size, "page": page, **self._totals(total, size)}
        meta |= {"aggregations": {}, "timed_out": fault == "timed_out"}
        shown = self._shown(rows)
        trace.rows = len(shown)
        return _envelope(meta, shown, self._search_links(path, page, size, total), fault)

    def _shown(self, rows: list[Record]) -> list[bytes]:
        """Return the JSON of at least one row. Switches set the number and the size."""
        text = (
            b'"attributes":{"longText":"%s",'
            % (b"All in good order. " * 50_000)[: self.switches.row_bytes]
        )
        shown: list[bytes] = []
        size = 0
        for row in rows:
            raw = row.raw()
            if self.switches.row_bytes:
                raw = raw.replace(b'"attributes":{', text, 1)
            size += len(raw)
            if shown and self.switches.page_bytes is not None and size > self.switches.page_bytes:
                break
            shown.append(raw)
        return shown

    def _beyond(self, page: int, size: int) -> bool:
        return page > self.switches.page_cap or (page - 1) * size >= self.switches.row_cap

    def _totals(self, total: int, size: int) -> dict[str, int]:
        choice = self.switches.total
        if choice == "missing":
            return {}
        if choice == "capped":
            total = min(total, 10_000)
        elif isinstance(choice, int):
            total = max(0, total + choice)
        return {"total": total, "totalPages": math.ceil(total / size)}

    def _search_links(self, path: str, page: int, size: int, total: int) -> dict[str, str | None]:
        """Return links with page and size only. The real API links to page 101 but refuses it."""
        pages = max(1, math.ceil(total / size))
        more = page < pages
        choice = self.switches.next_links
        if choice == "null" or (choice == "honest" and self._beyond(page + 1, size)):
            more = False
        links = {
            "self": _link(path, page, size),
            "first": _link(path, 1, size),
            "prev": _link(path, page - 1, size) if page > 1 else None,
            "next": _link(path, page + 1, size) if more else None,
            "last": _link(path, pages, size),
        }
        if choice == "missing":
            del links["next"]
        return links

    def _churn(self) -> None:
        self._searches += 1
        switches = self.switches
        if switches.touch_every and self._searches % switches.touch_every == 0:
            self.touch_random(switches.touch_count, switches.touch_contexts)

    def _list(self, request: Request, path: str, trace: _Trace, fault: str) -> Reply:
        try:
            page, size = _paging(request, LIST_PAGE_SIZES.get(trace.endpoint, _DEFAULT_PAGE_SIZE))
        except BadQueryError as error:
            return self._error(400, "bad_request", str(error))
        if trace.endpoint in CHILD_LISTS:
            parent_id = path.split("/")[-2]
            parent_kind, _ = CHILD_LISTS[trace.endpoint]
            if parent_id not in self._truth[parent_kind]:
                return self._error(404, "not_found", "Not found")
            everything = self.children(trace.endpoint, parent_id)
        else:
            everything = self._listed(trace.endpoint, request.params)
        rows = everything[(page - 1) * size : page * size]
        trace.page, trace.page_size, trace.rows = page, size, len(rows)
        trace.criteria = dict(request.params)
        if path.removeprefix("/v1/") in self.switches.missing_lists:
            return self._error(404, "not_found", "Not found")
        meta = {"pageSize": size, "page": page}
        if self.switches.list_total:
            meta["total"] = len(everything)
        links = {
            "self": _link(path, page, size),
            "first": _link(path, 1, size),
            "prev": _link(path, page - 1, size) if page > 1 else None,
            "next": _link(path, page + 1, size) if page * size < len(everything) else None,
        }
        for kind, how in INCLUDED.items():
            if how.beside == trace.endpoint:
                return self._with_included(meta, rows, kind, links, request)
        return _envelope(meta, self._shown(rows), links, fault)

    def _with_included(
        self,
        meta: Mapping[str, Any],
        rows: list[Record],
        kind: str,
        links: Mapping[str, Any],
        request: Request,
    ) -> Reply:
        """Answer with rows of a list and with their included rows."""
        how = INCLUDED[kind]
        body: dict[str, Any] = {"meta": meta, "data": [self._named(row, kind) for row in rows]}
        body["links"] = links
        is_asked = request.params.get(how.parameter[0]) == how.parameter[1]
        included = [one for row in rows for one in self._belonging(row, kind)]
        if self.switches.included == "first":
            included = included[:1]
        if is_asked and how.is_in_list and self.switches.included != "none":
            body["included"] = included
        return json_reply(200, body)

    def _named(self, row: Record, kind: str) -> dict[str, Any]:
        """Return the JSON of a row. It names its included rows if Kustomer's row does."""
        resource: dict[str, Any] = orjson.loads(row.raw())
        if name := INCLUDED[kind].relationship:
            data = [{"type": kind, "id": one.id} for one in self.beside(kind, row)]
            resource["relationships"][name] = {"data": data}
        return resource

    def _belonging(self, row: Record, kind: str) -> list[dict[str, Any]]:
        found = [orjson.loads(one.raw()) for one in self.beside(kind, row)]
        for one in found:
            one["relationships"][row.kind] = {"data": {"type": row.kind, "id": row.id}}
        return found

    def _one(self, request: Request, path: str, trace: _Trace) -> Reply:
        """Answer with one row of a list and with its included rows."""
        row_kind = trace.endpoint.removeprefix("one_")
        row = self._truth[row_kind].get(path.rpartition("/")[2])
        if row is None:
            return self._error(404, "not_found", "Not found")
        if row_kind == "conversation":
            return json_reply(200, {"data": orjson.loads(row.raw())})
        (kind,) = (kind for kind, how in INCLUDED.items() if how.beside == row_kind)
        name, value = INCLUDED[kind].parameter
        body: dict[str, Any] = {"data": self._named(row, kind)}
        if request.params.get(name) == value:
            included = self._belonging(row, kind)
            # In the documented example of an SLA, one included version is an object, not a list.
            body["included"] = (
                included[0] if len(included) == 1 and kind == "sla_version" else (included)
            )
        return json_reply(200, body)

    def _metadata(self, path: str) -> Reply:
        kind = unquote(path.rpartition("/")[2])
        if kind not in self.metadata:
            return self._error(404, "not_found", "Not found")
        attributes = {"properties": self.metadata[kind]}
        return json_reply(200, {"data": {"type": "metadata", "id": kind, "attributes": attributes}})

    def _log(self, request: Request, trace: _Trace) -> Reply:
        """Answer with at most `count` entries of a log, newest first."""
        params, switches = request.params, self.switches
        count = min(int(params.get("count", "100")), 1000)
        entries = sorted(
            self._truth[trace.endpoint].values(),
            key=lambda one: (one.created_ms, one.order),
            reverse=True,
        )
        if switches.log_filters:
            low, high = (
                to_ms(datetime.fromisoformat(params[name])) if name in params else far
                for name, far in (("filter[start]", -FAR_MS), ("filter[end]", FAR_MS))
            )
            entries = [one for one in entries if low <= one.created_ms < high]
        before = params.get("before")
        if before is not None and switches.log_before != "ignored":
            known = [one.id for one in entries]
            if before not in known:
                return self._error(400, "bad_request", "before is not an entry")
            entries = entries[known.index(before) + (switches.log_before == "exclusive") :]
        rows = entries[:count]
        trace.page_size, trace.rows, trace.criteria = count, len(rows), dict(params)
        more = f"/v1/audit-logs?count={count}&before={rows[-1].id}" if rows else None
        meta = {"count": len(rows), "total": len(entries), "cursorCount": len(entries)}
        return _envelope(meta, self._shown(rows), {"next": more}, "")

    def _listed(self, kind: str, params: Mapping[str, str]) -> list[Record]:
        """Return the rows of a list that its parameters select."""
        rows = list(self._truth[kind].values())
        if kind == "klass" and "klass:status" not in self.switches.ignored_parameters:
            status = params.get("status", "enabled")
            return [row for row in rows if row.attribute("status") == status]
        is_ignored = "sub_status:resourceType" in self.switches.ignored_parameters
        if kind == "sub_status" and (wanted := params.get("resourceType")) and not is_ignored:
            return [row for row in rows if row.attribute("resourceType") == wanted]
        return rows

    def _whoami(self, endpoint: str) -> Reply:
        roles = ["org.permission.search.create", "org.permission.user.read"]
        attributes: dict[str, Any] = {"name": "Warehouse", "roles": roles}
        if endpoint == "token":
            attributes["lastTokenChars"] = self.token[-4:]
        else:
            attributes |= {"userType": "machine", "displayName": "Warehouse"}
        data = {
            "type": endpoint,
            "id": object_id("user", 0),
            "attributes": attributes,
            "relationships": {"org": {"data": {"type": "org", "id": ORG_ID}}},
        }
        return json_reply(200, {"data": data})

    def _error(self, status: int, code: str, message: str) -> Reply:
        error: dict[str, Any] = {"code": code, "message": message, "meta": {}}
        if self.switches.error_shape == "jsonapi":
            error = {"status": status, "code": code, "title": message, "detail": message}
        return json_reply(status, {"errors": [error]})


def _endpoint(method: str, path: str) -> str:
    if method == "POST":
        return _SEARCHES.get(path, "other")
    if method != "GET":
        return "other"
    match path.split("/"):
        case ["", "v1", parents, _, children]:
            return _CHILD_PATHS.get((parents, children)) or _OTHER_PATHS.get(path, "other")
        case ["", "v1", "metadata", _]:
            return "metadata"
        case ["", "v1", ("slas" | "schedules" | "conversations") as rows, _]:
            return f"one_{rows.removesuffix('s')}"
        case ["", "v1", log] if log in EVENT_PATHS:
            return EVENT_PATHS[log]
        case _:
            return _LIST_PATHS.get(path) or _OTHER_PATHS.get(path, "other")


def _paging(request: Request, most: int) -> tuple[int, int]:
    """Parse page and pageSize. A size above the maximum is reduced without an error."""
    numbers = []
    for name, default in (("page", 1), ("pageSize", _DEFAULT_PAGE_SIZE)):
        text = request.params.get(name, str(default))
        if not text.isascii() or not text.isdigit() or int(text) < 1:
            raise BadQueryError(f"{name} should be a positive integer")
        numbers.append(int(text))
    return numbers[0], min(numbers[1], most)


def _of(endpoint: str, names: tuple[str, ...]) -> frozenset[str]:
    """Return what a switch names for one endpoint."""
    return frozenset(name.partition(":")[2] for name in names if name.partition(":")[0] == endpoint)


def _link(path: str, page: int, size: int) -> str:
    return f"{path}?page={page}&pageSize={size}"


def _envelope(
    meta: Mapping[str, Any], rows: list[bytes], links: Mapping[str, Any], fault: str
) -> Reply:
    """Join the rows' JSON without parsing it."""
    data = b"" if fault == "no_data" else b'"data":[' + b",".join(rows) + b"],"
    return raw_reply(
        200,
        b'{"meta":' + orjson.dumps(meta) + b"," + data + b'"links":' + orjson.dumps(links) + b"}",
    )
