"""Runs both sources from end to end, as Airbyte does, against the fake vendor. No account needed.

Every command runs in its own process, and every line that it prints is checked. The rows go into a
SQLite file, as a destination would take them, and a query reads them there. Run this with
`make demo`, or against the built images with `make try`.
"""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import requests
from rich.console import Console
from rich.table import Table

from fake_vendor.data import (
    CHILD_KINDS,
    CUSTOM_ATTRIBUTES,
    EVENT_KINDS,
    INCLUDED_KINDS,
    LIST_KINDS,
    PLURALS,
    SETTING_KINDS,
)

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = {
    "courier": {"api_key": "courier-demo-key"},
    "kustomer": {"api_token": "kustomer-demo-token", "start_date": "2015-01-01"},
}
# The numbers of rows that the vendor has, and that a first read must emit.
SEARCH_ROWS, LIST_ROWS, SETTING_ROWS, CHILD_ROWS, EVENT_ROWS = 3000, 60, 6, 90, 2500
COURIER_ROWS = 500
ROWS = {PLURALS[kind]: LIST_ROWS for kind in LIST_KINDS}
ROWS |= {PLURALS[kind]: CHILD_ROWS for kind in CHILD_KINDS}
NO_ARCHIVE = ("note", "conversation_time", "work_item", "work_session")
ROWS |= {PLURALS[kind]: SETTING_ROWS for kind in (*SETTING_KINDS, *INCLUDED_KINDS)}
ROWS |= {PLURALS[kind]: EVENT_ROWS for kind in EVENT_KINDS}
ROWS["custom_attributes"] = sum(map(len, CUSTOM_ATTRIBUTES.values()))
QUERY = """\
SELECT json_extract(data, '$.channel')                         AS channel,
       count(*)                                                AS messages,
       count(DISTINCT json_extract(data, '$.conversation.id')) AS conversations,
       sum(json_extract(data, '$.direction') = 'in')           AS received,
       max(json_extract(data, '$.updated_at'))                 AS newest
  FROM messages
 GROUP BY channel
 ORDER BY messages DESC"""
READY_SECONDS = 20
COMMAND_SECONDS = 90

Message = dict[str, Any]


class DemoError(Exception):
    """The demo found something wrong. The text says what."""


@dataclass(frozen=True)
class Programs:
    """How the sources are started, and the file that takes their rows."""

    # The words of a command line. `{source}` and `{place}` are replaced.
    template: str
    place: Path
    rows: sqlite3.Connection

    def command(self, source: str, *arguments: str | Path) -> list[str]:
        """Return the command line of one command."""
        words = [
            word.format(source=source, place=self.place) for word in shlex.split(self.template)
        ]
        return [*words, *map(str, arguments)]


@dataclass(frozen=True)
class Line:
    """One line of the last table: a read, and how it compares with the vendor."""

    read: str
    tallies: dict[str, Tally]
    missing: str


@dataclass
class Tally:
    """What one stream emitted in one read."""

    records: int = 0
    states: int = 0
    status: str = "none"
    began: float = 0.0
    seconds: float = 0.0
    ids: set[str] = field(default_factory=set)
    last_state: Message | None = None


def main() -> int:
    """Run the demo. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m integration_tests.demo", description=__doc__)
    here = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT))}/main_{{source}}.py"
    parser.add_argument(
        "--program",
        default=here,
        help="the command line that starts a source, with {source} for its name and {place} for "
        "the folder of its files (default: the code of this folder)",
    )
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as name, fake_vendor(Path(name)) as url:
            # A container may run as another user.
            Path(name).chmod(0o755)
            with closing(sqlite3.connect(":memory:")) as rows:
                programs = Programs(args.program, Path(name), rows)
                print(f"The fake vendor listens on {url}.\n")
                lines = [*courier(programs, url), *kustomer(programs, url)]
                summarize(lines, rows)
    except DemoError as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    print(f"All as it should be, in {time.monotonic() - began:.0f} s.")
    return 0


def courier(programs: Programs, url: str) -> list[Line]:
    """Run all commands of the Courier source."""
    config, catalog = introduce(programs, "courier", url)
    print("courier read, every table:")
    tallies = read(programs, "courier", "--config", config, "--catalog", catalog)
    show(tallies)
    expect(tallies, {"messages": COURIER_ROWS})
    return [Line("courier", tallies, "0")]


def kustomer(programs: Programs, url: str) -> list[Line]:
    """Run all commands of the Kustomer source, and read again from its last states."""
    config, catalog = introduce(programs, "kustomer", url)
    print("kustomer read, first sync:")
    tallies = read(programs, "kustomer", "--config", config, "--catalog", catalog)
    show(tallies)
    rows = {name: ROWS.get(name, SEARCH_ROWS) for name in tallies}
    expect(tallies, rows | {PLURALS[kind]: within_reach(url, kind) for kind in NO_ARCHIVE})

    state = programs.place / "state.json"
    state.write_text(json.dumps([tally.last_state for tally in tallies.values()]))
    print("kustomer read, next sync from the states of the first, nothing having changed:")
    options = ("--config", config, "--catalog", catalog, "--state", state)
    again = read(programs, "kustomer", *options)
    show(again)
    modes = {one["stream"]["name"]: one["sync_mode"] for one in chosen(catalog)}
    for name, tally in again.items():
        if modes[name] == "incremental" and tally.records * 10 > tallies[name].records:
            raise DemoError(f"{name}: {tally.records} records again, although nothing changed.")
    return [Line("kustomer, first", tallies, "0"), Line("kustomer, next", again, "-")]


def summarize(lines: list[Line], rows: sqlite3.Connection) -> None:
    """Print one line per read, and a query on the rows."""
    reads = Table("read")
    for head in ("streams", "rows", "missing", "twice", "states", "seconds"):
        reads.add_column(head, justify="right")
    for line in lines:
        tallies = line.tallies.values()
        emitted = sum(tally.records for tally in tallies)
        distinct = sum(len(tally.ids) for tally in tallies)
        states, seconds = sum(t.states for t in tallies), sum(t.seconds for t in tallies)
        counts = (f"{emitted:,}", line.missing, f"{emitted - distinct:,}", f"{states:,}")
        reads.add_row(line.read, str(len(tallies)), *counts, f"{seconds:.1f}")

    answer = rows.execute(QUERY)
    found = Table()
    for index, (head, *_) in enumerate(answer.description):
        found.add_column(head, justify="right" if 0 < index < 4 else "left")
    for row in answer:
        found.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    console = Console(highlight=False)
    console.print(reads)
    console.print(f"\nA query on the rows of Kustomer, in SQLite:\n\n{QUERY}\n", markup=False)
    console.print(found)


def chosen(catalog: Path) -> list[Message]:
    """Return the streams of a configured catalog."""
    streams: list[Message] = json.loads(catalog.read_text())["streams"]
    return streams


def within_reach(url: str, kind: str) -> int:
    """Return how many records of a kind the normal search finds."""
    answered = requests.post(
        f"{url}/v1/customers/search",
        params={"pageSize": 1},
        json={"queryContext": kind},
        headers={"authorization": f"Bearer {CONFIGS['kustomer']['api_token']}"},
        timeout=10,
    )
    total: int = answered.json()["meta"]["total"]
    return total


def introduce(programs: Programs, source: str, url: str) -> tuple[Path, Path]:
    """Run spec, check and discover. Returns the paths of a config and a configured catalog."""
    config = programs.place / f"{source}.json"
    catalog = programs.place / f"{source}_catalog.json"
    config.write_text(json.dumps(CONFIGS[source] | {"api_url": url}))

    fields = answer(programs, source, "SPEC", "spec")["connectionSpecification"]["properties"]
    print(f"{source} spec: {len(fields)} fields")
    status = answer(programs, source, "CONNECTION_STATUS", "check", "--config", config)
    print(f"{source} check: {status['status']}")
    if status["status"] != "SUCCEEDED":
        raise DemoError(f"{source} check says: {status.get('message')}")
    streams = answer(programs, source, "CATALOG", "discover", "--config", config)["streams"]
    print(f"{source} discover: {len(streams)} streams")

    catalog.write_text(json.dumps({"streams": [configured(stream) for stream in streams]}))
    return config, catalog


def configured(stream: Message) -> Message:
    """Configure a stream: incremental if possible."""
    incremental = "incremental" in stream["supported_sync_modes"]
    return {
        "stream": stream,
        "sync_mode": "incremental" if incremental else "full_refresh",
        "destination_sync_mode": "append",
        "cursor_field": stream.get("default_cursor_field"),
        "primary_key": stream.get("source_defined_primary_key"),
    }


def read(programs: Programs, source: str, *arguments: str | Path) -> dict[str, Tally]:
    """Read all configured streams, count what they emit, and keep their rows."""
    tallies: dict[str, Tally] = {}
    catalog = Path(arguments[arguments.index("--catalog") + 1])
    keys = {one["stream"]["name"]: one["primary_key"] for one in chosen(catalog)}
    with closing(messages(programs, source, "read", *arguments)) as arriving, programs.rows as kept:
        for message in arriving:
            match message:
                case {"record": {"stream": name, "data": data}}:
                    tallies[name].records += 1
                    tallies[name].ids.add(identity(data, keys[name]))
                    if source == "kustomer":
                        kept.execute(
                            f'INSERT OR REPLACE INTO "{name}" VALUES (?, ?)',
                            (identity(data, keys[name]), orjson.dumps(data).decode()),
                        )
                case {"state": {"stream": {"stream_descriptor": {"name": name}} as state}}:
                    tallies[name].states += 1
                    tallies[name].last_state = {"type": "STREAM", "stream": state}
                case {"trace": {"stream_status": {"stream_descriptor": {"name": name}} as said}}:
                    if name not in tallies:
                        kept.execute(f'CREATE TABLE IF NOT EXISTS "{name}" (id PRIMARY KEY, data)')
                    tally = tallies.setdefault(name, Tally(began=time.monotonic()))
                    tally.status = said["status"]
                    tally.seconds = time.monotonic() - tally.began
    return tallies


def identity(row: Message, key: list[list[str]]) -> str:
    """Return what identifies a row: the values of its primary key."""
    return ".".join(str(row.get(column)) for (column,) in key)


def expect(tallies: dict[str, Tally], rows: dict[str, int]) -> None:
    """Check that every stream is complete and emitted each of the vendor's rows."""
    for name, wanted in rows.items():
        tally = tallies.get(name, Tally())
        if tally.status != "COMPLETE":
            raise DemoError(f"{name}: status {tally.status}, not COMPLETE.")
        if len(tally.ids) != wanted:
            raise DemoError(f"{name}: {len(tally.ids)} distinct rows; the vendor has {wanted}.")


def show(tallies: dict[str, Tally]) -> None:
    """Print a line per stream, and the total."""
    rows = [
        (name, f"{tally.records:,}", f"{tally.states:,}", tally.status, f"{tally.seconds:.2f}")
        for name, tally in tallies.items()
    ]
    records, states, seconds = (
        sum(getattr(tally, what) for tally in tallies.values())
        for what in ("records", "states", "seconds")
    )
    head = ("stream", "records", "states", "status", "seconds")
    for row in (head, *rows, ("total", f"{records:,}", f"{states:,}", "", f"{seconds:.2f}")):
        print("  {:<22}{:>8}{:>8}  {:<10}{:>8}".format(*row))
    print()


def answer(
    programs: Programs, source: str, kind: str, command: str, *arguments: str | Path
) -> Message:
    """Run a command that answers with one message of a kind. Returns the message's content."""
    content = {"SPEC": "spec", "CONNECTION_STATUS": "connectionStatus", "CATALOG": "catalog"}[kind]
    found = [
        m[content] for m in messages(programs, source, command, *arguments) if m["type"] == kind
    ]
    if len(found) != 1:
        raise DemoError(f"{source} {command} gave {len(found)} {kind} messages instead of one.")
    answered: Message = found[0]
    return answered


def messages(
    programs: Programs, source: str, command: str, *arguments: str | Path
) -> Generator[Message]:
    """Run one command of a source. Yields its messages as they arrive."""
    program = programs.command(source, command, *arguments)
    said = ""
    # What it writes to stderr is shown if it fails. At a terminal this would be its progress, among
    # the lines of the demo.
    with (
        tempfile.TemporaryFile() as errors,
        running(program, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        watchdog = threading.Timer(COMMAND_SECONDS, process.kill)
        watchdog.start()
        try:
            for text in process.stdout or ():
                message = parsed(text, f"{source} {command}")
                if message["type"] == "TRACE" and "error" in message["trace"]:
                    said = message["trace"]["error"]["message"]
                yield message
            code = process.wait()
        finally:
            watchdog.cancel()
        if code or said:
            errors.seek(0)
            said = said or errors.read().decode(errors="replace").strip() or "no reason"
            raise DemoError(f"{source} {command} ended with exit code {code}: {said}")


def parsed(text: bytes, program: str) -> Message:
    """Parse one line of output as a message."""
    try:
        message: Message = orjson.loads(text)
    except ValueError:
        message = {}
    if not (isinstance(message, dict) and "type" in message):
        raise DemoError(f"{program} printed a line that is no message: {text[:200]!r}")
    return message


@contextmanager
def fake_vendor(place: Path) -> Iterator[str]:
    """Serve both vendors during a `with` block. Yields their base URL."""
    ready, log = place / "ready", place / "vendor.log"
    program = [sys.executable, "-m", "fake_vendor", "--port", "0"]
    program += ["--ready-file", str(ready), "--rows", str(SEARCH_ROWS)]
    program += ["--list-rows", str(LIST_ROWS), "--setting-rows", str(SETTING_ROWS)]
    program += ["--child-rows", str(CHILD_ROWS), "--event-rows", str(EVENT_ROWS)]
    program += ["--courier-rows", str(COURIER_ROWS)]
    with log.open("wb") as out, running(program, cwd=ROOT, stdout=out, stderr=out) as process:
        deadline = time.monotonic() + READY_SECONDS
        while not (ready.exists() and ready.read_text().strip()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"The fake vendor did not start.\n{log.read_text()}")
            time.sleep(0.05)
        yield ready.read_text().strip()


@contextmanager
def running(program: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process during a `with` block. It always ends with the block."""
    process = subprocess.Popen(program, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
