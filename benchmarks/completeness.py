"""Counts lost and duplicate rows: of this source and of two simpler ways to read the same search.

    python -m benchmarks.completeness

Every scenario has its own fake vendor and is read three times, each time from the same start:

- This source reads it over a socket, in its own process.
- "gte, page 1" always requests page 1 of 500 rows with `updated_at >= bound`, ascending. The bound
  moves to the last row's timestamp.
- "gt after page 100" requests pages of 100 rows with `updated_at > bound`, by number up to page
  100. Then the bound moves to the last row's timestamp, and so on.

Public connectors read in these last two ways: without an upper bound and without the archive. They
end at an empty page or at a page without `links.next`. They save their state after every page. This
source saves it every 500 rows.

Writes completeness.md next to this file. The exit code is 1 if this source lost anything.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import orjson

from fake_vendor import Clock, FakeVendor, Kustomer, KustomerSwitches, Request
from fake_vendor.data import Record
from fake_vendor.wire import Reply

_ROOT = Path(__file__).parent.parent
# Vendor time only moves with searches. Each search takes as long as the documented limit of 100 a
# minute allows. The time is in the past, because the source uses the earlier of its own clock and
# the vendor's.
_NOW = datetime(2025, 1, 1, tzinfo=UTC)
_SEARCH_SECONDS = 0.6
_HORIZON = timedelta(days=730)
_START = "2018-01-01T00:00:00.000Z"
# The time between the two syncs of an incremental scenario. It is longer than the index lag that
# the source allows for.
_PAUSE_SECONDS = 300
_LAG_SECONDS = 60
_IDLE_PAGES = 10

# One version of one record: its id and its updated_at, in a format that sorts as text.
Version = tuple[str, str]
Pages = Iterator[list[Version]]


class Org(Kustomer):
    """A Kustomer whose clock moves with each request. Each change may have another index lag."""

    def __init__(self, scenario: Scenario) -> None:
        """Build the data of the scenario."""
        super().__init__(
            {"customer": scenario.rows},
            list_rows=0,
            years=scenario.years,
            ties=scenario.ties,
            switches=KustomerSwitches(**scenario.switches),
            clock=Clock(_NOW),
        )
        self._lags = Random(1) if scenario.lag_varies else None
        self._one_at_a_time = threading.Lock()
        scenario.prepare(self)

    def pass_time(self) -> None:
        """Move the clock by the time of one search."""
        self.clock.advance(_SEARCH_SECONDS)
        if self._lags:
            self.switch(index_lag_seconds=self._lags.uniform(0, _LAG_SECONDS))

    def handle(self, request: Request) -> Reply:
        """Answer one request. The clock moves a little before it."""
        with self._one_at_a_time:
            self.pass_time()
            return super().handle(request)


def _nothing(_: Org) -> None:
    pass


def _changes_of_the_last_minute(org: Org) -> None:
    for _ in range(100):
        org.pass_time()
        org.touch_random(1, ("customer",))


def _records_at_the_border(org: Org) -> None:
    """Each search moves the horizon past six of these records, which then are in the archive."""
    for tenths in range(300):
        at = _NOW - _HORIZON + timedelta(seconds=tenths / 10)
        org.insert("customer", at, indexed=True)


@dataclass(frozen=True)
class Scenario:
    """The data and behaviour of the vendor, and how it is read."""

    title: str
    rows: int = 12_000
    years: float = 1.9
    ties: tuple[int, ...] = ()
    switches: dict[str, Any] = field(default_factory=dict)
    lag_varies: bool = False
    prepare: Callable[[Org], None] = _nothing
    incremental: bool = False
    kills: int = 0
    # The other readers end at a short page, and not at a missing next link.
    ends_at_short_page: bool = False


_TOUCHED = {"touch_count": 3, "touch_every": 3, "touch_contexts": ("customer",)}
_TIES = (500, 700, 1_300, 12_000)
_NO_HINTS = {"next_links": "missing", "total": "capped"}
_SHORT = "; the others end at a short page"

SCENARIOS = (
    Scenario("1. Quiet, no ties"),
    Scenario("1. Quiet, no ties", incremental=True),
    Scenario("2. Ties of 500, 700, 1,300 and 12,000", 18_000, ties=_TIES),
    Scenario(
        "3. The same, order of ties shuffled on every request",
        18_000,
        ties=_TIES,
        switches={"tie_order": "shuffled"},
    ),
    Scenario("4. Three records change on every third search", switches=_TOUCHED),
    Scenario("5. The same during the first of two syncs", switches=_TOUCHED, incremental=True),
    Scenario("6. Ten kills; ten ties of 300", 6_000, ties=(300,) * 10, kills=10),
    Scenario("6. The same", 6_000, ties=(300,) * 10, kills=10, incremental=True),
    Scenario(
        "7. Four years back; 300 records cross the archive's border",
        years=4,
        prepare=_records_at_the_border,
    ),
    Scenario(
        "7. The same, the archive finds recent records too",
        years=4,
        prepare=_records_at_the_border,
        switches={"archive_scope": "all"},
    ),
    Scenario("8. Pages cut to 100 without a word", switches={"page_size_max": 100}),
    Scenario(
        f"8. The same{_SHORT}",
        switches={"page_size_max": 100},
        ends_at_short_page=True,
    ),
    Scenario("9. No `links.next`, `total` capped at 10,000", switches=_NO_HINTS),
    Scenario(f"9. The same{_SHORT}", switches=_NO_HINTS, ends_at_short_page=True),
    Scenario(
        "10. Changes are indexed 60 s late",
        switches={**_TOUCHED, "index_lag_seconds": _LAG_SECONDS},
        prepare=_changes_of_the_last_minute,
        incremental=True,
    ),
    Scenario(
        "10. Changes are indexed up to 60 s late, in any order",
        switches=_TOUCHED,
        lag_varies=True,
        prepare=_changes_of_the_last_minute,
        incremental=True,
    ),
)


class LoopsError(Exception):
    """A reader requests the same page again and again."""


@dataclass
class Reading:
    """What one reader emitted in a scenario, and where it would continue."""

    emitted: list[Version] = field(default_factory=list)
    state: Any = None
    # Everything below `read_to` was read. With `bound_is_read`, the rows at `read_to` too.
    read_to: str = _START
    bound_is_read: bool = False
    loops: bool = False

    def outcome(self, scenario: Scenario, org: Org) -> Outcome:
        """Count missing and duplicate rows."""
        emitted, records = Counter(self.emitted), org.records("customer")
        missing = [one for one in records if (one.id, one.updated_at) not in emitted]
        if scenario.incremental and not self.loops:
            missing = [one for one in missing if not self._is_ahead(one)]
        twice = emitted.total() - len(emitted)
        return Outcome(len(records), len(missing), twice, self.loops)

    def _is_ahead(self, record: Record) -> bool:
        if self.bound_is_read:
            return record.updated_at > self.read_to
        return record.updated_at >= self.read_to


@dataclass(frozen=True)
class Outcome:
    """The figures of one reader in one scenario."""

    rows: int
    lost: int
    duplicated: int
    loops: bool

    def cells(self) -> tuple[str, str]:
        """Return the cells of the table."""
        if self.loops:
            return f"loops, {self.lost:,} never reached", "endless"
        return f"{self.lost:,}", f"{self.duplicated:,}"


# Continues a reading: (org, scenario, reading, number of rows after which the reader is killed).
Read = Callable[[Org, Scenario, Reading, int | None], None]


def read_by_source(org: Org, scenario: Scenario, reading: Reading, kill_after: int | None) -> None:
    """Run this source as the platform does: in its own process. SIGKILL kills it."""
    with FakeVendor(org) as vendor, tempfile.TemporaryDirectory() as place:
        files = {
            "config": {"api_token": org.token, "start_date": _START, "api_url": vendor.url},
            "catalog": _catalog("incremental" if scenario.incremental else "full_refresh"),
            "state": [reading.state] if reading.state else [],
        }
        command = [sys.executable, str(_ROOT / "main_kustomer.py"), "read"]
        for name, content in files.items():
            path = Path(place) / f"{name}.json"
            path.write_bytes(orjson.dumps(content))
            command += [f"--{name}", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            _take_output(process, reading, kill_after)
    if process.returncode != (0 if kill_after is None else -signal.SIGKILL):
        msg = f"{scenario.title}: the source ended with exit code {process.returncode}"
        raise RuntimeError(msg)


def _take_output(
    process: subprocess.Popen[bytes], reading: Reading, kill_after: int | None
) -> None:
    """Read all whole lines, also those that are still in the pipe after the process was killed."""
    rows = 0
    for line in process.stdout or ():
        if not line.endswith(b"\n"):
            break
        message = orjson.loads(line)
        if message["type"] == "RECORD":
            row = message["record"]["data"]
            reading.emitted.append((row["id"], row["updated_at"]))
            rows += 1
            if rows == kill_after:
                process.kill()
        elif message["type"] == "STATE":
            reading.state = message["state"]
            saved = reading.state["stream"]["stream_state"]
            reading.read_to = saved.get("updated_at", reading.read_to)


def _catalog(sync_mode: str) -> dict[str, Any]:
    stream = {
        "name": "customers",
        "json_schema": {},
        "supported_sync_modes": ["full_refresh", "incremental"],
    }
    modes = {"sync_mode": sync_mode, "destination_sync_mode": "append"}
    return {"streams": [{"stream": stream, **modes}]}


def read_gte_page_1(org: Org, scenario: Scenario, reading: Reading, kill_after: int | None) -> None:
    """Read always page 1, from the last row's timestamp."""
    _take_pages(_pages_gte(org, scenario, reading.read_to), reading, kill_after)


def read_gt_page_100(
    org: Org, scenario: Scenario, reading: Reading, kill_after: int | None
) -> None:
    """Read pages by number up to 100, then continue with rows later than the last row."""
    reading.bound_is_read = True
    _take_pages(_pages_gt(org, scenario, reading.read_to), reading, kill_after)


def _take_pages(pages: Pages, reading: Reading, kill_after: int | None) -> None:
    rows = 0
    try:
        for page in pages:
            for version in page:
                reading.emitted.append(version)
                rows += 1
                if rows == kill_after:
                    return
            reading.read_to = page[-1][1]
    except LoopsError:
        reading.loops = True


def _pages_gte(org: Org, scenario: Scenario, bound: str) -> Pages:
    idle = 0
    while True:
        page, is_last = _search(org, scenario, "gte", bound, number=1, size=500)
        if page:
            yield page
        if is_last:
            return
        idle = idle + 1 if page[-1][1] == bound else 0
        if idle == _IDLE_PAGES:
            raise LoopsError
        bound = page[-1][1]


def _pages_gt(org: Org, scenario: Scenario, bound: str) -> Pages:
    while True:
        last_seen = bound
        for number in range(1, 101):
            page, is_last = _search(org, scenario, "gt", bound, number=number, size=100)
            if page:
                yield page
                last_seen = page[-1][1]
            if is_last:
                return
        bound = last_seen


def _search(
    org: Org, scenario: Scenario, operator: str, bound: str, *, number: int, size: int
) -> tuple[list[Version], bool]:
    """Return a page, and whether the reader treats it as the last."""
    body = {
        "queryContext": "customer",
        "and": [{"customer_updated_at": {operator: bound}}],
        "sort": [{"customer_updated_at": "asc"}],
    }
    params = {"page": str(number), "pageSize": str(size)}
    headers = {"authorization": f"Bearer {org.token}"}
    path = "/v1/customers/search"
    reply = org.handle(Request("POST", path, params, headers, orjson.dumps(body)))
    if reply.status != 200:
        msg = f"{scenario.title}: page {number} was answered with {reply.status}"
        raise RuntimeError(msg)
    answer = reply.json()
    page = [(row["id"], row["attributes"]["updatedAt"]) for row in answer["data"]]
    if scenario.ends_at_short_page:
        return page, len(page) < size
    return page, not page or not answer["links"].get("next")


READERS: dict[str, Read] = {
    "this source": read_by_source,
    "gte, page 1": read_gte_page_1,
    "gt after page 100": read_gt_page_100,
}


def run(scenario: Scenario, read: Read) -> Outcome:
    """Run a reader through a scenario with a new vendor."""
    org, reading, random = Org(scenario), Reading(), Random(2)
    for _ in range(scenario.kills):
        read(org, scenario, reading, random.randint(1, scenario.rows // 6))
    if not reading.loops:
        read(org, scenario, reading, None)
    if scenario.incremental and not scenario.kills and not reading.loops:
        org.switch(touch_every=0)
        org.clock.advance(_PAUSE_SECONDS)
        read(org, scenario, reading, None)
    return reading.outcome(scenario, org)


_PREFACE = """\
# Completeness

This page compares three ways to read one search stream of the fake vendor (`fake_vendor`): how many
rows each loses, and how many it emits twice. The stream is customers. The same code reads all
searches. `python -m benchmarks.completeness` writes this file. The docstring of that module
explains the two other ways.

- Lost: the latest version of a record was never emitted, and the next sync would not read it
  either.
- Twice: a version (id and `updated_at`) was emitted that had been emitted before.
- A full refresh is one sync. "Two syncs" are incremental. The second one continues from the state
  of the first one, five minutes later, and nothing changes in between. After a kill (SIGKILL of
  this source; the other two stop in the middle of a page) the read continues from the last state.
  The rows of all reads count together.

"""


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Run all scenarios. Print and write the table."""
    began = time.monotonic()
    columns = ["Scenario", "Sync", "Rows"]
    columns += [f"{name}: {what}" for name in READERS for what in ("lost", "twice")]
    lines = [_row(columns), "|---|---|" + "---:|" * (len(columns) - 2)]
    print("\n".join(lines), flush=True)
    lost = 0
    for scenario in SCENARIOS:
        outcomes = {name: run(scenario, read) for name, read in READERS.items()}
        lost += outcomes["this source"].lost
        kind = "two syncs" if scenario.incremental else "full refresh"
        kind = "incremental" if scenario.incremental and scenario.kills else kind
        cells = [scenario.title, kind, f"{outcomes['this source'].rows:,}"]
        cells += [cell for outcome in outcomes.values() for cell in outcome.cells()]
        lines.append(_row(cells))
        print(lines[-1], flush=True)
    Path(__file__).with_suffix(".md").write_text(_PREFACE + "\n".join(lines) + "\n")
    print(f"{time.monotonic() - began:.0f} s")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
