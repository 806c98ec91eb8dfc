"""Standard output: UTF-8, one message per line. No line is cut in two if the process is ended."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import select
import stat
import termios
import threading
import time
from typing import Any

from http_source.body import without_surrogates

# A line of up to this many bytes goes into a pipe whole or not at all (pipe(7), PIPE_BUF).
_ATOMIC_BYTES = select.PIPE_BUF
# We enlarge the pipe to this size if the system allows it (pipe(7), pipe-max-size). Most long lines
# fit into it.
_PIPE_BYTES = 1024 * 1024
_POLL_MILLISECONDS = 1
_PIECE_BYTES = 64 * 1024
# Lines are gathered for this long before they are written. At full speed this is 1.5 MB of lines.
_GATHER_SECONDS = 0.01
# When a signal ends the process, a reader has this long to take the rest of a line.
_LAST_LINE_SECONDS = 1.5


class MessageOutput(io.TextIOBase):
    """A text stream that writes whole lines to a file descriptor.

    Any thread may write. An incomplete line waits until a later `write` completes it.
    """

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is a file descriptor, such as 1."""
        self._descriptor = descriptor
        # The parent process may have made it non-blocking. Then half a line could be lost.
        os.set_blocking(descriptor, True)
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._pipe_pages = _widen(descriptor) if self._is_pipe else 0
        self._reader_gone = select.poll()
        self._reader_gone.register(descriptor, 0)
        self._lock = threading.RLock()
        self._gathered: list[bytes] = []
        self._bytes = 0
        self._write_at = 0.0
        self._ending = False
        # Whether a write has failed: nobody reads, or the disk is full.
        self.is_broken = False
        # Set when no line is half written.
        self._at_line_end = threading.Event()
        self._at_line_end.set()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Always UTF-8. The environment cannot change it."""
        return "utf-8"

    def writable(self) -> bool:
        """Always true."""
        return True

    def isatty(self) -> bool:
        """Whether the output is a terminal."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """The file descriptor."""
        return self._descriptor

    def write(self, text: str) -> int:
        """Gather the text. Write it after a hundredth of a second, or when 64 kB are gathered."""
        try:
            content = text.encode()
        except UnicodeEncodeError:
            content = without_surrogates(text).encode()
        with self._lock:
            self._gathered.append(content)
            self._bytes += len(content)
            if self._bytes >= _PIECE_BYTES or time.monotonic() >= self._write_at:
                self.flush()
        return len(text)

    def flush(self) -> None:
        """Write all whole lines that were gathered. Raises BrokenPipeError if nobody reads."""
        with self._lock:
            content = b"".join(self._gathered)
            self._gathered, self._bytes = [], 0
            if content and not content.endswith(b"\n"):
                cut = content.rfind(b"\n") + 1
                self._gathered, self._bytes = [content[cut:]], len(content) - cut
                content = content[:cut]
            if content:
                try:
                    self._write_lines(_strict(content))
                except OSError:
                    self.is_broken = True
                    raise
            self._write_at = time.monotonic() + _GATHER_SECONDS

    def end(self) -> None:
        """Finish the line that is being written. Write no more. Call this from another thread."""
        self._ending = True
        self._at_line_end.wait(_LAST_LINE_SECONDS)

    def conclude(self) -> None:
        """Call this after the last line. Nothing is left to do here."""

    def _write_lines(self, lines: bytes) -> None:
        if not self._is_pipe:
            self._write_piece(lines)
            return
        start = 0
        while start < len(lines):
            end = lines.rfind(b"\n", start, start + _ATOMIC_BYTES) + 1
            end = end or lines.index(b"\n", start) + 1
            self._write_piece(lines[start:end])
            start = end

    def _gets_room(self, length: int) -> bool:
        """Wait until a long line fits into the pipe at once, so that no signal can cut it in two.

        Returns False if this is not possible: the line is longer than the pipe, the process is
        ending, or nobody reads.
        """
        while True:
            waiting = int.from_bytes(
                fcntl.ioctl(self._descriptor, termios.FIONREAD, b"\0" * 4), "little"
            )
            # Two neighbouring pages of a pipe hold more than one page of bytes. Otherwise the
            # kernel would have merged them. So the bytes take at most twice the pages they need.
            free = self._pipe_pages - 2 * -(-waiting // _ATOMIC_BYTES) - 2
            if length <= free * _ATOMIC_BYTES:
                return True
            if not waiting or self._ending or self._reader_gone.poll(_POLL_MILLISECONDS):
                return False

    def _write_piece(self, piece: bytes) -> None:
        """Write whole lines. If the process is ending, stop after the line that was begun."""
        is_atomic = self._is_pipe and (len(piece) <= _ATOMIC_BYTES or self._gets_room(len(piece)))
        if not is_atomic:
            self._at_line_end.clear()
        if self._ending:
            self._at_line_end.set()
            _wait_for_the_end()
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
            if self._ending and rest:
                begun = len(piece) - len(rest)
                end = begun if piece[begun - 1 : begun] == b"\n" else piece.index(b"\n", begun) + 1
                if end == begun:
                    break
                rest = rest[: end - begun]
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        self._at_line_end.set()
        if self._ending:
            _wait_for_the_end()


def _widen(descriptor: int) -> int:
    """Enlarge a pipe if the system allows it. Returns its size in pages, or 0 if it is unknown."""
    with contextlib.suppress(OSError, AttributeError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ) // _ATOMIC_BYTES
    except (OSError, AttributeError):
        return 0  # not Linux


def _wait_for_the_end() -> None:
    # Another thread is about to end the process. This thread must not write any more.
    while True:
        time.sleep(60)


def _strict(lines: bytes) -> bytes:
    r"""Make the lines strict JSON.

    Vendor text that did not pass `parse_json`, such as an error text, may still contain half of a
    surrogate pair. JSON spells it `\udxxx`.
    """
    if b"\\ud" not in lines:
        return lines
    return "\n".join(map(_without_escaped_surrogates, lines.decode().split("\n"))).encode()


def _without_escaped_surrogates(line: str) -> str:
    if "\\ud" not in line:
        return line
    try:
        message: Any = json.loads(line)
    except ValueError:
        return line
    return without_surrogates(json.dumps(message, ensure_ascii=False))
