"""The scenarios of Courier: one chain of pages, walks along several segments, and children.

The chain is the source with `parallel_walks: 1`. Times are from the first request to the end of the
process, because the time of the start-up is not a matter of walks. The tables have whole times.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.process import Vendor, serving
from benchmarks.scenarios import DEFAULT_ROWS, Bench, Measured, Result
from fake_vendor.courier import Courier

_PAGE = 10
_LATENCY_MS = 150
# The pages of a scenario with latency.
_PAGES = 400
# A run of several requests at once is short, so that a pause of the machine counts much.
_RUNS = 2


@dataclass(frozen=True)
class _Setting:
    """One vendor, and one reader of it."""

    label: str
    messages: int = 0
    walks: int = 4
    spread: str = "even"
    switches: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, int] = field(default_factory=dict)
    expected: Mapping[str, int] = field(default_factory=dict)
    reader: str = "ours"
    runs: int = 1


@dataclass(frozen=True)
class _Run:
    """What was measured, and the seconds from the first request to the end of the process."""

    measured: Measured
    seconds: float


@contextmanager
def _courier(bench: Bench, setting: _Setting) -> Iterator[Vendor]:
    facts = {
        "messages": setting.messages,
        "spread": setting.spread,
        "switches": setting.switches,
        "tables": setting.tables,
    }
    spelled = json.dumps(facts).replace("{", "{{").replace("}", "}}")
    with serving(bench.place, "benchmarks.courier_vendor", "{ready}", spelled) as vendor:
        yield vendor


def _read(bench: Bench, setting: _Setting) -> _Run:
    """Read a vendor of its own, several times if the setting says so. The fastest run counts."""
    runs: list[_Run] = []
    with tempfile.TemporaryDirectory(dir=bench.place) as name:
        own = replace(bench, place=Path(name))
        for _ in range(setting.runs):
            with _courier(own, setting) as vendor:
                measured = own.read(
                    vendor,
                    dict(setting.expected or {"messages": setting.messages}),
                    setting.reader,
                    label=setting.label,
                    source="courier",
                    options={"parallel_walks": setting.walks},
                )
                seconds = measured.usage.ended - vendor.first_request("courier")
                runs.append(_Run(measured, seconds))
    # A run that lost records must not hide behind a whole one.
    return min(runs, key=lambda run: (run.measured.whole, run.seconds))


def _side_by_side(bench: Bench, settings: Sequence[_Setting]) -> list[_Run]:
    """Run readers that mostly wait in parallel."""
    with ThreadPoolExecutor(len(settings)) as pool:
        return list(pool.map(lambda setting: _read(bench, setting), settings))


def _faster(result: Result, slow: _Run, fast: _Run, times: float) -> None:
    """Add the target that one run is so many times faster than another one."""
    found = slow.seconds / fast.seconds
    whole = slow.measured.usage.wall / fast.measured.usage.wall
    result.target(
        f"{fast.measured.reader}: at least {times:g} x faster than {slow.measured.reader}",
        f"{found:.2f} x: {fast.seconds:.2f} s, not {slow.seconds:.2f} s; {whole:.2f} x with "
        "start-up",
        met=found >= times,
    )


def _messages(bench: Bench, pages: int = _PAGES) -> int:
    """So many pages of messages, scaled as all scenarios are."""
    return max(20, pages * _PAGE * bench.rows // DEFAULT_ROWS)


def one_chain(bench: Bench) -> Result:
    """Ten rows per page. The next page is fetched while a page is emitted."""
    count = max(20, bench.rows // 75)
    pages, latency = -(-count // _PAGE), _LATENCY_MS / 1000
    result = Result(f"Courier, 150 ms latency; {count:,} messages, ten a page")
    spec = ("main_courier.py", "spec")
    start = statistics.median(bench.start_up(*spec).wall for _ in range(3))
    setting = _Setting("ours", count, switches={"latency_ms": _LATENCY_MS})
    ours = _read(bench, setting).measured
    result.runs.append(ours)
    result.complete(ours)
    limit = 1.05 * pages * latency + start
    result.target(
        "wall time <= 1.05 x pages x latency + start-up",
        f"{ours.usage.wall:.2f} s; {pages} pages x 150 ms = {pages * latency:.2f} s, "
        f"start-up {start:.2f} s, so at most {limit:.2f} s",
        met=ours.usage.wall <= limit,
    )
    return result


# Vendors whose cursors cannot be built, by the name of the reader.
_NOT_BUILT = {
    "opaque cursors": {"cursor_form": "opaque"},
    "built cursors lead to the top": {"built_cursor": "from_the_top"},
    "built cursors refused": {"built_cursor": "refused"},
    "built cursors lead to an empty page": {"built_cursor": "empty"},
}


def cursors(bench: Bench) -> Result:
    """Where cursors cannot be built, four walks must cost little more than one chain."""
    count, latency = _messages(bench), {"latency_ms": _LATENCY_MS}
    result = Result(
        f"Courier's cursors cannot be built, 150 ms latency; {count:,} messages, ten a page"
    )
    chain, *others = _side_by_side(
        bench,
        [_Setting("one chain", count, 1, switches=latency)]
        + [
            _Setting(label, count, switches=latency | switches)
            for label, switches in _NOT_BUILT.items()
        ],
    )
    result.runs += [run.measured for run in (chain, *others)]
    result.complete(*result.runs)
    for run in others:
        found = run.seconds / chain.seconds
        result.target(
            f"{run.measured.reader}: at most 1.1 x the time of one chain",
            f"{found:.3f} x: {run.seconds:.2f} s, not {chain.seconds:.2f} s",
            met=found <= 1.1,
        )
    return result


_SPREADS = {"even": "spread evenly", "recent": "mostly recent"}
# How many times faster than one chain so many walks must be.
_SPEED_UP = {4: 3.2, 8: 5.0}


def walks(bench: Bench) -> Result:
    """Where cursors can be built, several segments share the pages."""
    count = _messages(bench)
    switches = {"latency_ms": _LATENCY_MS, "built_cursor": "honoured"}
    result = Result(
        f"Courier's cursors can be built, 150 ms latency; {count:,} messages, ten a page"
    )
    chains = _side_by_side(
        bench,
        [
            _Setting(f"one chain, {words}", count, 1, spread, switches)
            for spread, words in _SPREADS.items()
        ],
    )
    for chain, (spread, words) in zip(chains, _SPREADS.items(), strict=True):
        result.runs.append(chain.measured)
        result.complete(chain.measured)
        for number, times in _SPEED_UP.items():
            label = f"{number} walks, {words}"
            run = _read(bench, _Setting(label, count, number, spread, switches, runs=_RUNS))
            result.runs.append(run.measured)
            result.complete(run.measured)
            _faster(result, chain, run, times)
    return result


def children(bench: Bench) -> Result:
    """The children of several parents are fetched at once."""
    count, latency = max(20, _messages(bench) // _PAGE), {"latency_ms": _LATENCY_MS}
    tables = {"lists": count}
    made = Courier(count, tables=tables)
    result = Result(f"Courier's child streams, 150 ms latency; {count:,} parents, ten a page")
    settings = [
        _Setting(
            f"{stream}, one by one",
            count,
            switches=latency,
            tables=tables,
            expected={stream: len(made.rows(stream))},
            reader=stream,
        )
        for stream in ("message_history", "list_subscriptions")
    ]
    for slow, setting in zip(_side_by_side(bench, settings), settings, strict=True):
        label = f"ours, {setting.reader}"
        ours = _read(bench, replace(setting, label=label, reader="ours", runs=_RUNS))
        result.runs += [slow.measured, ours.measured]
        result.complete(slow.measured, ours.measured)
        _faster(result, slow, ours, 6)
    return result


_MOST_GROWTH = 3.0


def memory(bench: Bench) -> Result:
    """Ten times the messages must need the same memory, with any number of walks."""
    result = Result("Memory of walks of Courier, no latency")
    few = _messages(bench)
    for number in _SPEED_UP:
        pair = []
        for count in (few, 10 * few):
            setting = _Setting(
                f"{number} walks, {count:,} messages",
                count,
                number,
                switches={"built_cursor": "honoured"},
            )
            pair.append(_read(bench, setting).measured)
        result.runs += pair
        result.complete(*pair)
        growth = (pair[1].usage.peak - pair[0].usage.peak) / 1e6 / (9 * few / 10_000)
        result.target(
            f"{number} walks: peak memory grows by at most {_MOST_GROWTH:g} MB per 10,000 messages",
            f"{growth:.2f} MB",
            met=growth <= _MOST_GROWTH,
        )
    return result


SCENARIOS: dict[str, Callable[[Bench], Result]] = {
    "courier": one_chain,
    "courier-cursors": cursors,
    "courier-walks": walks,
    "courier-children": children,
    "courier-memory": memory,
}
