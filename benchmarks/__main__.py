"""Runs the scenarios one after the other: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.process import BenchmarkError
from benchmarks.scenarios import DEFAULT_ROWS, SCENARIOS, Bench, Measured, Result

RESULTS = Path(__file__).with_name("results.md")
_HEAD = (
    "reader", "records", "wall s", "processor us/record", "peak MB", "requests", "429s", "twice",
    "lost",
)  # fmt: skip
_HOW = """\
How it was measured: `python -m benchmarks` on the fake vendor (integration_tests/fake_vendor),
which runs in a process of its own on the same machine. Every reader is a fresh process; its output
goes to a file and is counted afterwards, row by row, against the ids that the vendor holds. Wall
time includes the start of the interpreter and all imports. Processor time (user and system) and
peak memory are the kernel's account of that one process. Requests and refusals (429) are the
vendor's own count.

- ours: `main_kustomer.py read`, all nine streams, incremental, without a state
  (`main_courier.py read` for Courier).
- floor: requests and orjson on one kept-alive session, one request at a time: 500 rows a page from
  the last row's moment on, minus the rows already seen there. Nothing is flattened, checked,
  retried or checkpointed.
- 100 a page, strict cursor: 100 rows a page by page number, and after page 100 from strictly after
  the last row on. It loses the rows that share their moment with row 10,000, where there are such.
- probe before each page: a call to prove the key, then page 1 of 500 rows from the last row's
  moment on. It brings rows at the borders twice, and stops where one moment fills a page.

In brackets: the ratio to the first row of the same table. Only ratios carry over to other
machines, and those within the noise of whatever else ran.
"""


def main(argv: list[str] | None = None) -> int:
    """Run all or one; 1 if a run broke or lost records, whether or not targets were met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--rows", type=int, default=DEFAULT_ROWS, metavar="N",
                        help="scales every scenario (default: %(default)s)")  # fmt: skip
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began, results = time.monotonic(), {}
    try:
        with tempfile.TemporaryDirectory() as name:
            bench = Bench(Path(name), args.rows, lambda text: print(f"  {text}", flush=True))
            bench.start_up("main_kustomer.py", "spec")  # so that all bytecode is compiled
            for scenario in [args.only] if args.only else SCENARIOS:
                print(f"{scenario}", flush=True)
                results[scenario] = SCENARIOS[scenario](bench)
                show(results[scenario])
    except BenchmarkError as error:
        print(f"\nBROKEN: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    seconds = time.monotonic() - began
    report = written(results, seconds)
    print(report)
    if args.only or args.rows != DEFAULT_ROWS:
        print(f"{RESULTS.name} is written by a whole run only.")
    else:
        RESULTS.write_text(report)
        print(f"Written to benchmarks/{RESULTS.name}.")
    return int(any(result.broken for result in results.values()))


def show(result: Result) -> None:
    """Print a scenario's targets."""
    for target in result.targets:
        print(f"  {'met' if target.met else 'MISSED'}: {target.text}: {target.found}", flush=True)
    print()


def written(results: dict[str, Result], seconds: float) -> str:
    """All of it as Markdown."""
    machine = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.python_implementation()} "
        f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} processors; "
        f"load {os.getloadavg()[0]:.1f} at the end; {seconds:.0f} s in all."
    )
    lines = ["# Speed of the sources", "", machine, "", _HOW]
    for name, result in results.items():
        lines += [f"## {name}: {result.title}", "", *table(result.runs), ""]
        for target in result.targets:
            lines.append(f"- {'met' if target.met else 'missed'}: {target.text}: {target.found}")
        lines.append("")
    return "\n".join(lines)


def table(runs: list[Measured]) -> list[str]:
    """A Markdown table, its columns aligned."""
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
    """One reader's cells."""

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
