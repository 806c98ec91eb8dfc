"""The scenarios. Each runs readers against a vendor and compares them with a target."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks import untuned
from benchmarks.process import ROOT, BenchmarkError, Usage, Vendor, measure, serving
from fake_vendor.data import LIST_PAGE_SIZES, PLURALS

# Rows of a medium-sized organisation. It has more `messages` than one search can read.
DEFAULT_ROWS = 45_000
_PARTS = {"messages": 21, "conversations": 9, "customers": 6, "kobjects": 5, "notes": 4}
_LIST_PAGE = {PLURALS[kind]: size for kind, size in LIST_PAGE_SIZES.items()}
_LIST_ROWS = 150
_PAGE = 500
# All rows are newer than the start date. So nothing is read from the archive.
_YEARS, _START_DAYS = "1.5", 600
_LABELS = {
    "floor": "floor",
    "hundred": "100 a page, strict cursor",
    "probing": "probe before each page",
}
_READERS = {"kustomer": "benchmarks.readers", "courier": "benchmarks.courier_readers"}


@dataclass(frozen=True)
class Measured:
    """The run of one reader. `lost` and `strange` compare its records with the vendor's."""

    reader: str
    usage: Usage
    rows: int = 0
    duplicates: int = 0
    lost: int = 0
    strange: int = 0
    requests: int = 0
    searches: int = 0
    refused: int = 0
    end: str = ""

    @property
    def cpu_per_row(self) -> float:
        """Processor seconds per record."""
        return self.usage.cpu / max(1, self.rows)

    @property
    def whole(self) -> bool:
        """Whether the run succeeded with exactly the vendor's records."""
        return not (self.lost or self.strange or self.duplicates or self.end)


@dataclass(frozen=True)
class Target:
    """A target, what was measured, and whether the target is met."""

    text: str
    found: str
    met: bool


@dataclass
class Result:
    """A scenario's runs and targets. `broken` if a run of ours failed or lost a row."""

    title: str
    runs: list[Measured] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    broken: bool = False

    def target(self, text: str, found: str, *, met: bool) -> None:
        """Add a target."""
        self.targets.append(Target(text, found, met))

    def complete(self, *ours: Measured) -> None:
        """Add a target for our runs: all of the vendor's records, each once, and no 429."""
        for run in ours:
            good = run.whole and not run.refused
            found = (
                f"{run.rows:,} records, {run.lost:,} lost, {run.strange:,} not the vendor's, "
                f"{run.duplicates:,} twice, {run.refused:,} refused{run.end and ', ' + run.end}"
            )
            self.target(f"{run.reader}: exactly the vendor's records, no 429", found, met=good)
            self.broken = self.broken or not run.whole


@dataclass(frozen=True)
class Bench:
    """A folder for files, the number of rows, and a function that gets a line per run."""

    place: Path
    rows: int
    tell: Callable[[str], None]

    def split(self, share: float = 1) -> dict[str, int]:
        """Return rows per searched stream, for a share of all rows."""
        rows, whole = round(self.rows * share), sum(_PARTS.values())
        parts = {name: max(1, rows * part // whole) for name, part in _PARTS.items()}
        return parts | {"messages": max(1, parts["messages"] + rows - sum(parts.values()))}

    @contextmanager
    def kustomer(self, rows: dict[str, int], list_rows: int, *options: str) -> Iterator[Vendor]:
        """Serve a Kustomer with these rows."""
        spelled = ",".join(["0", *(f"{name}={count}" for name, count in rows.items())])
        arguments = ["--ready-file", "{ready}", "--years", _YEARS, "--courier-rows", "0"]
        arguments += ["--rows", spelled, "--list-rows", str(list_rows), *options]
        with serving(self.place, "fake_vendor", *arguments) as vendor:
            yield vendor

    def read(
        self,
        vendor: Vendor,
        expected: dict[str, int],
        reader: str = "ours",
        *,
        label: str = "",
        start: str = "",
        source: str = "kustomer",
        options: Mapping[str, Any] | None = None,
        without: str = "",
    ) -> Measured:
        """Run a reader and compare its output with the vendor's records."""
        output, errors = self.place / "output", self.place / "errors"
        start = start or f"{datetime.now(UTC) - timedelta(days=_START_DAYS):%Y-%m-%d}"
        if reader == "ours":
            arguments = self._ours(source, vendor.url, start, expected, options or {})
        else:
            arguments = ["-m", _READERS[source], reader, vendor.url, start]
        if without:
            arguments = ["-m", "benchmarks.untuned", without, *arguments[1:]]
        vendor.reset()
        usage = measure(arguments, output, errors)
        stats = vendor.stats(source)
        counting = [sys.executable, "-m", "benchmarks.tally", str(output), json.dumps(expected)]
        counted = subprocess.run(
            [*counting, source], cwd=ROOT, check=False, capture_output=True, text=True
        )
        if counted.returncode:
            raise BenchmarkError(f"{reader} wrote what cannot be read.\n{counted.stderr}")
        found = json.loads(counted.stdout)
        output.unlink()
        end = f"exit code {usage.code}" if usage.code else ""
        if found["incomplete"]:
            end = f"{found['incomplete']} streams incomplete"
        last = errors.read_text(errors="replace").strip().rpartition("\n")[2]
        run = Measured(
            label or _LABELS.get(reader, reader),
            usage,
            found["rows"],
            found["rows"] - found["distinct"],
            found["lost"],
            found["strange"],
            stats["requests"],
            sum(stats["endpoints"].get(name, 0) for name in ("search", "archive_search")),
            stats["refused_429"],
            f"{end}: {last}" if end and last else end,
        )
        self.tell(f"{run.reader}: {usage.wall:.1f} s, {run.rows:,} records, {run.requests} requests"
                  f"{run.end and ', ' + run.end}")  # fmt: skip
        return run

    def _ours(
        self,
        source: str,
        url: str,
        start: str,
        expected: dict[str, int],
        options: Mapping[str, Any],
    ) -> list[str]:
        """Return the command that reads exactly the streams in `expected`."""
        config, key = self.place / "config.json", {"api_key": "courier-demo-key"}
        if source == "kustomer":
            key = {"api_token": "kustomer-demo-token", "start_date": start}
        config.write_text(json.dumps(key | {"api_url": url} | dict(options)))
        sample = ROOT / f"integration_tests/{source}/configured_catalog.json"
        streams = json.loads(sample.read_text())["streams"]
        chosen = [one for one in streams if one["stream"]["name"] in expected]
        others = expected.keys() - {one["stream"]["name"] for one in chosen}
        chosen += map(_full_refresh, sorted(others))
        catalog = self.place / "catalog.json"
        catalog.write_text(json.dumps({"streams": chosen}))
        return [f"main_{source}.py", "read", "--config", str(config), "--catalog", str(catalog)]

    def start_up(self, *arguments: str) -> Usage:
        """Run a command that reads nothing."""
        usage = measure(list(arguments), self.place / "output", self.place / "errors")
        if usage.code:
            raise BenchmarkError(f"{arguments} failed.\n{(self.place / 'errors').read_text()}")
        return usage


def _full_refresh(stream: str) -> dict[str, Any]:
    """Return the entry of a catalog for a stream that the sample catalog does not have."""
    described = {"name": stream, "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
    modes = {"sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
    return {"stream": described, **modes}


def _lists(rows: int) -> dict[str, int]:
    return dict.fromkeys(_LIST_PAGE, rows)


def _list_pages(rows: int) -> int:
    return sum(-(-rows // size) for size in _LIST_PAGE.values())


def _ties(rows: dict[str, int]) -> list[str]:
    """Return ten bulk edits of 40 rows each, for every searched stream that has enough rows."""
    return ["--ties", ",".join(["40"] * 10)] if min(rows.values()) >= 800 else []


def _compared(
    bench: Bench, title: str, share: float, list_rows: int, latency_ms: int, *turns: str
) -> Result:
    """Run the floor, ours, and other readers. Each turn names readers that run one after another.

    Several turns run in parallel, each with its own vendor. This is for readers that only wait.
    """
    rows = bench.split(share)
    options = ["--latency-ms", str(latency_ms), *_ties(rows)]
    result = Result(f"{title}; {sum(rows.values()):,} searched rows and {4 * list_rows} of lists")

    def take(turn: str) -> list[Measured]:
        with tempfile.TemporaryDirectory(dir=bench.place) as name:
            own = replace(bench, place=Path(name))
            with own.kustomer(rows, list_rows, *options) as vendor:
                expected = rows | _lists(list_rows)
                return [own.read(vendor, expected, reader) for reader in turn.split()]

    with ThreadPoolExecutor(len(turns)) as pool:
        for runs in pool.map(take, turns):
            result.runs += runs
    floor, ours = result.runs[:2]
    if not floor.whole:
        raise BenchmarkError(f"The floor reader failed or lost records: {floor}")
    result.complete(ours)
    return result


def no_latency(bench: Bench) -> Result:
    """No latency: only processor time counts."""
    return _compared(bench, "No latency", 1, _LIST_ROWS, 0, "floor ours hundred probing")


def some_latency(bench: Bench) -> Result:
    """The latency of a transatlantic call."""
    result = _compared(bench, "150 ms latency", 1, _LIST_ROWS, 150, "floor ours")
    floor, ours = result.runs[:2]
    wall = ours.usage.wall / floor.usage.wall
    cpu = ours.cpu_per_row / floor.cpu_per_row
    ideal = sum(bench.split().values()) / _PAGE + len(_PARTS) + _list_pages(_LIST_ROWS)
    result.target("wall time <= 0.45 x floor", f"{wall:.3f} x", met=wall <= 0.45)
    starts = (
        bench.start_up("main_kustomer.py", "spec"),
        bench.start_up("-c", "import benchmarks.readers"),
    )
    net = [run.usage.cpu - start.cpu for run, start in zip((ours, floor), starts, strict=True)]
    result.target(
        "processor per record <= 2.0 x floor",
        f"{cpu:.3f} x; {net[0] / net[1]:.2f} x without what starting takes of each",
        met=cpu <= 2.0,
    )
    result.target(
        "requests <= 1.15 x (rows / 500 + one per searched stream and list page)",
        f"{ours.requests} of {ideal:.0f}, {ours.requests / ideal:.2f} x",
        met=ours.requests <= 1.15 * ideal,
    )
    return result


def much_latency(bench: Bench) -> Result:
    """A small organisation on a slow vendor."""
    return _compared(bench, "1 s latency", 2 / 45, 25, 1000, "floor ours", "hundred", "probing")


def rate_limit(bench: Bench) -> Result:
    """More searches than the limit of a minute."""
    rows = bench.split(61 / 45)
    limits = ["--latency-ms", "300", "--search-limit", "100", "--org-limit", "1000"]
    result = Result(
        f"100 searches and 1,000 requests a minute, 300 ms latency; {sum(rows.values()):,} "
        "searched rows"
    )
    with bench.kustomer(rows, 25, *limits) as vendor:
        ours = bench.read(vendor, rows | _lists(25))
    result.runs.append(ours)
    result.complete(ours)
    ideal = ours.searches / 100 * 60
    result.target(
        "wall time <= 1.05 x (searches / 100 a minute)",
        f"{ours.usage.wall:.1f} s for {ours.searches} searches, {ours.usage.wall / ideal:.2f} x",
        met=ours.usage.wall <= 1.05 * ideal,
    )
    return result


def hot_month(bench: Bench) -> Result:
    """Most months have few records, so a reader that goes month by month gets empty pages."""
    rows, lists = bench.split(), _lists(25)
    result = Result(
        f"Ten quiet years and one hot month, in the archive; {sum(rows.values()):,} searched rows"
    )
    arguments = ["{ready}", *(json.dumps(counts).replace("{", "{{").replace("}", "}}")
                              for counts in (rows, lists))]  # fmt: skip
    with serving(bench.place, "benchmarks.hot_month", *arguments) as vendor:
        ours = bench.read(vendor, rows | lists, start="2015-01-01")
    result.runs.append(ours)
    result.complete(ours)
    # Notes have no archive.
    ideal = sum(rows.values()) / _PAGE + 2 * len(_PARTS) - 1 + _list_pages(25)
    result.target(
        "requests <= 1.15 x (rows / 500 + one per stream and search or archive, and list page)",
        f"{ours.requests} of {ideal:.0f}, {ours.requests / ideal:.2f} x",
        met=ours.requests <= 1.15 * ideal,
    )
    return result


def memory(bench: Bench) -> Result:
    """Ten times the rows must need the same memory."""
    result = Result("Memory, no latency")
    for share in (4 / 9, 40 / 9):
        rows = bench.split(share)
        with bench.kustomer(rows, 25) as vendor:
            label = f"ours, {sum(rows.values()):,} rows"
            result.runs.append(bench.read(vendor, rows | _lists(25), label=label))
    few, many = result.runs
    result.complete(few, many)
    ratio = many.usage.peak / few.usage.peak
    result.target("peak memory of ten times the rows <= 1.1 x", f"{ratio:.3f} x", met=ratio <= 1.1)
    result.target(
        "peak memory < 200 MB", f"{many.usage.peak / 1e6:.0f} MB", met=many.usage.peak < 200e6
    )
    return result


# Bytes added to every row, number of rows, and the allowed peak memory in megabytes.
_LARGE_ROWS = ((0, 20_000, 150), (18_500, 4_000, 220), (58_500, 2_000, 300), (398_500, 300, 400))


def large_rows(bench: Bench) -> Result:
    """Long e-mails: memory depends on the bytes of the pages, not on their number."""
    result = Result("Rows of 1.5, 20, 60 and 400 kB, no latency")
    for longer, count, megabytes in _LARGE_ROWS:
        rows = dict.fromkeys(_PARTS, 0) | {"messages": count}
        with bench.kustomer(rows, 0, "--row-bytes", str(longer)) as vendor:
            label = f"ours, {count:,} rows of {(longer + 1_500) / 1000:g} kB"
            run = bench.read(vendor, rows | _lists(0), label=label)
        result.runs.append(run)
        result.complete(run)
        result.target(
            f"peak memory of {run.reader} < {megabytes} MB",
            f"{run.usage.peak / 1e6:.0f} MB",
            met=run.usage.peak < megabytes * 1e6,
        )
    rows = bench.split(1 / 9)
    options = ("--latency-ms", "150", "--row-bytes", "18500")
    with bench.kustomer(rows, _LIST_ROWS, *options) as vendor:
        run = bench.read(
            vendor, rows | _lists(_LIST_ROWS), label="ours, all streams, 20 kB, 150 ms"
        )
    result.runs.append(run)
    result.complete(run)
    result.target(
        f"peak memory of {run.reader} < 220 MB",
        f"{run.usage.peak / 1e6:.0f} MB",
        met=run.usage.peak < 220e6,
    )
    return result


def start_up(bench: Bench) -> Result:
    """The start of a process, compared with the import of the CDK alone."""
    result = Result("Start-up")
    programs = {
        "import airbyte_cdk": ("-c", "import airbyte_cdk"),
        "ours, spec": ("main_kustomer.py", "spec"),
    }
    pairs = [{name: bench.start_up(*words) for name, words in programs.items()} for _ in range(5)]
    for name in programs:
        usages = sorted((pair[name] for pair in pairs), key=lambda usage: usage.wall)
        result.runs.append(Measured(name, usages[2]))
        bench.tell(f"{name}: {usages[2].wall:.2f} s")
    ratios = [pair["ours, spec"].wall / pair["import airbyte_cdk"].wall for pair in pairs]
    ratio = statistics.median(ratios)
    result.target(
        "spec <= 1.15 x a bare import of the CDK (median of 5 interleaved pairs)",
        f"{ratio:.2f} x ({min(ratios):.2f} to {max(ratios):.2f})",
        met=ratio <= 1.15,
    )
    return result


_TUNING_RUNS = 5


def tuning(bench: Bench) -> Result:
    """The same sync again and again, each time without one setting of tuning.py."""
    rows, lists = bench.split(), _lists(25)
    result = Result(f"Settings of the process, no latency; {sum(rows.values()):,} searched rows")
    names = {"all settings": "-", **{f"without {name}": name for name in untuned.OFF}}
    runs: dict[str, list[Measured]] = {label: [] for label in names}
    with bench.kustomer(rows, 25) as vendor:
        for _ in range(_TUNING_RUNS):
            for label, name in names.items():
                runs[label].append(bench.read(vendor, rows | lists, label=label, without=name))
    for label in names:
        result.runs.append(min(runs[label], key=lambda run: run.usage.cpu))
    whole, *others = result.runs
    for run in others:
        cpu, peak = (
            getattr(run.usage, name) / getattr(whole.usage, name) for name in ("cpu", "peak")
        )
        result.target(
            f"{run.reader} costs more (least of {_TUNING_RUNS} runs)",
            f"{cpu:.2f} x the processor time, {peak:.2f} x the memory",
            met=cpu > 1.0 or peak > 1.05,
        )
    return result


SCENARIOS: dict[str, Callable[[Bench], Result]] = {
    "no-latency": no_latency,
    "150-ms": some_latency,
    "1-s": much_latency,
    "rate-limit": rate_limit,
    "hot-month": hot_month,
    "memory": memory,
    "large-rows": large_rows,
    "start-up": start_up,
    "tuning": tuning,
}
