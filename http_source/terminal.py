"""What a person at a terminal sees of a command, on stderr. Imported only if stderr is a terminal.

Nothing here is told anything: it reads the messages that go to stdout. So a sync that nobody
watches pays nothing for it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from http_source.output import MessageOutput

# The display takes the number of rows this often. A person cannot read faster.
_SHOW_EVERY_SECONDS = 0.1
# The display has this long to leave the terminal in order when a signal ends the process. A stopped
# terminal (Ctrl-S) takes no text, and must not keep the process.
_LAST_DRAWING_SECONDS = 0.5
_WAITING = "waits for the rate limit"


class TerminalOutput(MessageOutput):
    """Standard output that also shows on stderr how a read goes.

    If stdout is a terminal too, the messages scroll there. A moving line would be torn up by them,
    so the lines of the streams are shown at the end.
    """

    def __init__(self, descriptor: int, count_streams: Callable[[], int]) -> None:
        """`descriptor` is as in MessageOutput. `count_streams` says how many streams are read."""
        super().__init__(descriptor)
        self._display = _Display(count_streams, moves=not self.isatty())

    def write(self, text: str) -> int:
        """Write the text, and show what its message says."""
        written = super().write(text)
        self._display.see(text)
        return written

    def conclude(self) -> None:
        """Show the end of the command."""
        self._display.conclude()

    def end(self) -> None:
        """As MessageOutput.end. Leaves no half-drawn line on the terminal."""
        super().end()
        drawing = threading.Thread(target=self.conclude, daemon=True)
        drawing.start()
        drawing.join(_LAST_DRAWING_SECONDS)


@dataclass
class _Stream:
    """What was seen of a stream that is being read."""

    number: int
    began: float
    rows: int = 0
    expected: int | None = None
    is_waiting: bool = False
    shown_at: float = 0.0
    task: TaskID | None = None


class _Display:
    """Lines about finished streams, and below them one moving line about the present one."""

    def __init__(self, count_streams: Callable[[], int], *, moves: bool) -> None:
        self._count_streams = count_streams
        self._console = Console(file=sys.stderr, highlight=False, markup=False, emoji=False)
        self._moves = moves
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            _Rows(),
            _Speed(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False, style="yellow"),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._lock = threading.RLock()
        self._began = time.monotonic()
        self._streams: dict[str, _Stream] = {}
        self._finished = self._rows = 0
        self._held: list[Text] = []
        self._is_over = False

    def see(self, line: str) -> None:
        """Show what a message says. Any thread may call this."""
        try:
            message = orjson.loads(line)
        except ValueError:
            return
        with self._lock:
            if not self._is_over and isinstance(message, dict):
                try:
                    self._take(message)
                except OSError:
                    # The terminal is gone. The sync goes on.
                    self._is_over = True

    def conclude(self) -> None:
        """Remove the moving line, and show what was held back and the sums."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            for name in list(self._streams):
                self._end_stream(name, "stopped")
            # Where it was not started, it would still end a line.
            if self._progress.live.is_started:
                self._progress.stop()
            for text in self._held:
                self._console.print(text)
            if self._finished:
                streams = "1 stream" if self._finished == 1 else f"{self._finished} streams"
                self._console.print(
                    f"{streams}, {self._rows:,} rows, {time.monotonic() - self._began:.1f} s"
                )

    def _take(self, message: dict[str, Any]) -> None:
        match message:
            case {"type": "RECORD", "record": {"stream": name}}:
                self._take_row(name)
            case {"type": "TRACE", "trace": {"estimate": {"name": name, "row_estimate": rows}}}:
                if stream := self._streams.get(name):
                    stream.expected = rows
            case {"type": "TRACE", "trace": {"stream_status": {"status": status} as said}}:
                self._take_status(said["stream_descriptor"]["name"], status, said.get("reasons"))
            case {"type": "TRACE", "trace": {"error": {"message": problem}}}:
                self._say(_one_line(problem), "red")
            case {"type": "LOG", "log": {"level": "WARN", "message": warning}}:
                self._say(_one_line(warning), "yellow")

    def _take_row(self, name: str) -> None:
        self._rows += 1
        stream = self._streams.get(name)
        if stream is None:
            return
        stream.rows += 1
        now = time.monotonic()
        if stream.is_waiting or now - stream.shown_at >= _SHOW_EVERY_SECONDS:
            stream.is_waiting, stream.shown_at = False, now
            self._draw(stream)

    def _take_status(self, name: str, status: str, reasons: Any) -> None:
        if status == "STARTED":
            self._begin_stream(name)
        elif status in {"COMPLETE", "INCOMPLETE"}:
            self._end_stream(name, status.lower())
        elif reasons and (stream := self._streams.get(name)):
            stream.is_waiting = True
            self._draw(stream)

    def _begin_stream(self, name: str) -> None:
        number = self._finished + len(self._streams) + 1
        stream = self._streams[name] = _Stream(number, time.monotonic())
        if self._moves:
            self._progress.start()
            words = f"{_one_line(name)} ({stream.number} of {self._count_streams()})"
            stream.task = self._progress.add_task(words, total=None, note="")

    def _end_stream(self, name: str, status: str) -> None:
        stream = self._streams.pop(name, None)
        if stream is None:
            return
        self._finished += 1
        if stream.task is not None:
            self._progress.remove_task(stream.task)
            self._progress.refresh()
        seconds = time.monotonic() - stream.began
        self._say(
            f"{_one_line(name):<28} {stream.rows:>12,} rows {seconds:>8.1f} s  {status}",
            "" if status == "complete" else "red",
        )

    def _draw(self, stream: _Stream) -> None:
        if stream.task is not None:
            note = _WAITING if stream.is_waiting else ""
            self._progress.update(
                stream.task, completed=stream.rows, total=stream.expected, note=note
            )

    def _say(self, words: str, style: str) -> None:
        text = Text(words, style)
        if self._moves:
            self._console.print(text)
        else:
            self._held.append(text)


class _Rows(ProgressColumn):
    """How many rows there are, and how many are expected."""

    def render(self, task: Task) -> Text:
        """See ProgressColumn."""
        expected = "" if task.total is None else f" of {task.total:,.0f}"
        return Text(f"{task.completed:,.0f}{expected} rows", style="bold")


class _Speed(ProgressColumn):
    """Rows per second, over the last half minute."""

    def render(self, task: Task) -> Text:
        """See ProgressColumn."""
        return Text("" if task.speed is None else f"{task.speed:,.0f} rows/s")


def _one_line(text: str) -> str:
    """The text without control characters: what a vendor sends must not steer the terminal."""
    return "".join(one if one.isprintable() else " " for one in text)
