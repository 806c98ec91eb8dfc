"""Runs the scenarios: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import courier, scenarios
from benchmarks.process import BenchmarkError, stop_all
from benchmarks.scenarios import DEFAULT_ROWS, Bench, Measured, Result

SCENARIOS = scenarios.SCENARIOS | courier.SCENARIOS
# The lines run one after the other. The scenarios of a line mostly wait, so they run in parallel.
PLAN = (
    ("no-latency",), ("150-ms",), ("1-s", "rate-limit"), ("hot-month",), ("memory",),
    ("large-rows",), ("courier",), ("courier-cursors",), ("courier-walks",),
    ("courier-children",), ("courier-memory",), ("start-up",), ("tuning",),
)  # fmt: skip
RESULTS = Path(__file__).with_name("results.md")
_HEAD = (
    "reader", "records", "wall s", "processor us/record", "peak MB", "requests", "429s", "twice",
    "lost",
)  # fmt: skip
_HOW = """\
How it was measured: `python -m benchmarks` with the fake vendor (fake_vendor), which runs in its
own process on the same machine. Every reader is a new process. Its output goes to a file, and each
row is compared with the ids of the vendor afterwards. Wall time includes the start of the
interpreter and all imports. The kernel measures processor time (user and system) and peak memory of
that process. The vendor counts requests and refusals (429).

- ours: `main_kustomer.py read`, all nine streams, incremental, without a state
  (`main_courier.py read` for Courier).
- floor: requests and orjson on one kept-alive session, one request at a time. It reads 500 rows per
  page from the last row's timestamp, without the rows already seen there. Nothing is flattened,
  checked, retried or checkpointed.
- 100 a page, strict cursor: 100 rows per page by page number. After page 100 it continues after the
  last row's timestamp. It loses rows with the same timestamp as row 10,000.
- probe before each page: a request that proves the key, then page 1 of 500 rows from the last row's
  timestamp. It emits rows at the borders twice, and stops if one timestamp fills a page.
- one chain: `main_courier.py read` of the messages with `parallel_walks: 1`. Other rows of Courier
  have the default of 4 if they do not name another number.
- one by one: requests and orjson on one kept-alive session. It reads the pages of the parents, and
  the children of each parent when it comes, one request at a time.

"x faster" and "the time of one chain" compare the seconds from the first request to the end of the
process. The tables have the wall time with start-up. A run of several requests at once is short, so
the faster one of two counts. In courier-cursors the readers run in parallel, because they mostly
wait. So do the chains of courier-walks and the one by one readers of courier-children.

The scenarios 1-s and rate-limit mostly wait, so they run in parallel. So do the readers of 1-s. The
ratio in brackets compares a row with the first row of its table. Only ratios are valid for other
machines. Other processes on the machine disturb them a little.
"""


def main(argv: list[str] | None = None) -> int:
    """Run all scenarios or one. Returns 1 if a run failed or lost records, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--rows", type=int, default=DEFAULT_ROWS, metavar="N",
                        help="scales every scenario (default: %(default)s)")  # fmt: skip
    args = parser.parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    began, results = time.monotonic(), dict[str, Result]()
    print(
        "Both sources and plain readers are run on a fake vendor, and what they take is compared."
    )
    try:
        for names in [(args.only,)] if args.only else PLAN:
            with ThreadPoolExecutor(len(names)) as pool:
                found = pool.map(run, names, [args.rows] * len(names))
                results |= zip(names, found, strict=True)
    except (BenchmarkError, OSError) as error:
        print(f"\nBROKEN: {error}", file=sys.stderr)
        return 1
    tables = "\n".join(map(section, results, results.values()))
    print(f"\n{tables}")
    if args.only or args.rows != DEFAULT_ROWS:
        print(f"{RESULTS.name} is written by a whole run only.")
    else:
        RESULTS.write_text(f"{introduction(time.monotonic() - began)}\n{tables}")
        print(f"Written to benchmarks/{RESULTS.name}.")
    return int(any(result.broken for result in results.values()))


def _stop(number: int, _: object) -> None:
    stop_all()
    sys.exit(128 + number)


def run(name: str, rows: int) -> Result:
    """Run a scenario and print its targets."""

    def tell(text: str) -> None:
        print(f"{name}: {text}", flush=True)

    with tempfile.TemporaryDirectory() as place:
        bench = Bench(Path(place), rows, tell)
        bench.start_up("main_kustomer.py", "spec")  # compiles all bytecode
        result = SCENARIOS[name](bench)
    for target in result.targets:
        tell(f"{'met' if target.met else 'MISSED'}: {target.text}: {target.found}")
    return result


def introduction(seconds: float) -> str:
    """Return the head of the report: when, where and how."""
    return (
        "# Speed of the sources\n\n"
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.python_implementation()} "
        f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} processors; "
        f"load {os.getloadavg()[0]:.1f} at the end; {seconds:.0f} s in all.\n\n{_HOW}"
    )


def section(name: str, result: Result) -> str:
    """Return a scenario as Markdown."""
    targets = [
        f"- {'met' if target.met else 'missed'}: {target.text}: {target.found}"
        for target in result.targets
    ]
    head = f"## {name}: {result.title}"
    return "\n".join([head, "", *table(result.runs), "", *targets, ""])


def table(runs: list[Measured]) -> list[str]:
    """Return a Markdown table with aligned columns."""
    cells = [_HEAD, *(row(run, runs[0]) for run in runs)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| "
        + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return lines + [f"\n{run.reader} ended early: {run.end}" for run in runs if run.end]


def row(run: Measured, first: Measured) -> tuple[str, ...]:
    """Return the cells of one reader."""

    def cell(value: float, floor: float, form: str) -> str:
        return format(value, form) + ("" if run is first else f" ({value / floor:.2f} x)")

    usage = (
        cell(run.usage.wall, first.usage.wall, ".2f"),
        cell(run.cpu_per_row * 1e6, first.cpu_per_row * 1e6, ".0f") if run.rows else "-",
        cell(run.usage.peak / 1e6, first.usage.peak / 1e6, ".0f"),
    )
    if not run.rows:
        return (run.reader, "-", *usage, "-", "-", "-", "-")
    requests = cell(run.requests, first.requests, "d")
    counts = (run.refused, run.duplicates, run.lost)
    return (run.reader, f"{run.rows:,}", *usage, requests, *(f"{n:,}" for n in counts))


if __name__ == "__main__":
    sys.exit(main())
