"""The verb `doctor`: asks a vendor, by a few read-only requests, whether our assumptions hold.

Its output has no content of records, no IDs and no key, so it can be pasted into a bug report.
"""

from __future__ import annotations

import argparse
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, ClassVar, TextIO

from airbyte_cdk.models import FailureType
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.body import PageTooLargeError, parse_body
from http_source.client import VendorClient
from http_source.errors import config_error
from http_source.retry import RefusedError
from http_source.retry_after import http_date
from http_source.source import HttpSource
from http_source.verbs import Verb

# After this, no further request is sent. A user waits for the table.
_MAX_SECONDS = 110.0
# The statuses of a key that lacks a role, or of a plan that lacks a feature.
_NOT_ALLOWED = frozenset({401, 402, 403})
_GOOD = 200
# Two synchronised clocks, one of them shown in whole seconds, behind a slow network.
_CLOCK_SECONDS = 10.0
_NUMBER_CHARACTERS = frozenset("0123456789.")


class Verdict(Enum):
    """What a doctor says about one assumption."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNSEEN = "could not be seen"


@dataclass(frozen=True)
class Check:
    """One line of the table. `exactness` if complete reads rest on the assumption."""

    assumption: str
    expected: str
    seen: str
    verdict: Verdict
    exactness: bool = False


@dataclass(frozen=True)
class Assumption:
    """Something that the docs assume of a vendor, and what shows it."""

    text: str
    expected: str
    exactness: bool = False

    def holds(self, seen: str) -> Check:
        """The assumption holds."""
        return self._check(seen, Verdict.HOLDS)

    def fails(self, seen: str) -> Check:
        """The assumption does not hold."""
        return self._check(seen, Verdict.FAILS)

    def unseen(self, why: str) -> Check:
        """The answers do not tell."""
        return self._check(why, Verdict.UNSEEN)

    def judged(self, holds: bool, seen: str) -> Check:
        """The assumption holds, or not."""
        return self.holds(seen) if holds else self.fails(seen)

    def _check(self, seen: str, verdict: Verdict) -> Check:
        return Check(self.text, self.expected, seen, verdict, self.exactness)


@dataclass(frozen=True)
class Answer:
    """An answer to a doctor's request.

    `status` is 0 if no good answer came. `at` is the moment of arrival by our clock, in epoch
    seconds.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    at: float = 0.0
    error: Exception | None = None

    @property
    def is_good(self) -> bool:
        """Whether it has a body to look at."""
        return self.status == _GOOD

    @property
    def is_not_allowed(self) -> bool:
        """Whether the key, its roles or the plan do not allow the request."""
        return self.status in _NOT_ALLOWED

    @property
    def outcome(self) -> str:
        """What came, in words without content."""
        return f"HTTP {self.status}" if self.status else "no good answer in time"

    @property
    def vendor_time(self) -> float:
        """When it was sent by the vendor's clock, in epoch seconds; by ours without a `Date`."""
        date = http_date(self.headers.get("Date", ""))
        return self.at if date is None else date.timestamp()


class AskingMixin(VendorClient):
    """Makes a vendor's client return what came, and remember the headers."""

    asked = 0
    _headers: Mapping[str, str] = {}
    _ends: float | None = None

    def observe(self, headers: Mapping[str, str]) -> None:
        """Keep the headers of a good answer."""
        super().observe(headers)
        self._headers = headers

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Mapping[str, Any] | None = None,
        bucket: str = "all",
    ) -> Answer:
        """Send a request. Never raises: a refusal is an answer too."""
        now = time.monotonic()
        self._ends = self._ends or now + _MAX_SECONDS
        if now > self._ends:
            return Answer(0)
        self.asked += 1
        try:
            body = self.fetch(method, path, self.parse, params=params, json=json, bucket=bucket)
        except RefusedError as refused:
            return Answer(refused.status, at=time.time(), error=refused)
        except (AirbyteTracedException, PageTooLargeError) as error:
            return Answer(0, at=time.time(), error=error)
        return Answer(_GOOD, body, self._headers, time.time())

    def parse(self, content: bytes) -> Any:
        """Return the JSON value of a body. For override."""
        return parse_body(content)


class DoctorVerb(Verb, ABC):
    """`doctor` of one source."""

    name = "doctor"
    summary = "Find out whether what this source relies on holds for your key."
    purpose = (
        "Finds out whether what this source relies on holds for your key, by cheap read-only "
        "requests. Prints a table without content of records and without the key. The exit code "
        "is 1 if something does not hold that complete reads rest on."
    )
    vendor: ClassVar[str]

    def __init__(self, source: HttpSource) -> None:
        self._source = source

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """None beside `--config`."""

    @abstractmethod
    def examine(self, config: Mapping[str, Any]) -> tuple[Sequence[Check], int]:
        """The lines of the table, and how many requests they took.

        Raises an AirbyteTracedException if there is nothing to see, as with a wrong key.
        """

    def run(self, config: Mapping[str, Any], args: argparse.Namespace, out: TextIO) -> int:
        """Write the table, and return 1 if something fails that exactness rests on."""
        began = time.monotonic()
        try:
            checks, requests = self.examine(config)
        except AirbyteTracedException as error:
            if error.failure_type is FailureType.config_error:
                raise
            raise config_error(self._source.unreachable(config, error)) from error
        at = datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
        seconds = time.monotonic() - began
        out.write(f"# {self.vendor}, {at}: {requests} requests in {seconds:.0f} s\n\n")
        out.write(table(checks))
        out.write(f"\n{_summary(checks)}\n")
        return exit_code(checks)


def exit_code(checks: Sequence[Check]) -> int:
    """1 if something does not hold that exactness rests on, or else 0."""
    return int(any(one.exactness and one.verdict is Verdict.FAILS for one in checks))


def table(checks: Sequence[Check]) -> str:
    """The checks as a table in Markdown, so that it is readable as text and in a bug report."""
    rows = [("assumption", "expected", "seen", "verdict")]
    rows += [
        (
            f"{one.assumption}{' *' if one.exactness else ''}",
            one.expected,
            one.seen,
            one.verdict.value,
        )
        for one in checks
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    rows.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
    lines = (
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(f"| {line} |\n" for line in lines)


def _summary(checks: Sequence[Check]) -> str:
    counts = ", ".join(
        f"{sum(one.verdict is verdict for one in checks)} {words}"
        for verdict, words in (
            (Verdict.HOLDS, "hold"),
            (Verdict.FAILS, "do not hold"),
            (Verdict.UNSEEN, "could not be seen"),
        )
    )
    end = (
        "A line with * does not hold, so rows may be missing or a sync may fail: exit code 1."
        if exit_code(checks)
        else "No line with * fails: exit code 0."
    )
    return f"{counts}. Complete reads rest on the lines with *. {end}"


_CLOCKS = Assumption("clock skew", f"at most {_CLOCK_SECONDS:.0f} s by the Date header")


def check_clock(answer: Answer) -> Check:
    """Whether the vendor's clock agrees with ours."""
    if http_date(answer.headers.get("Date", "")) is None:
        return _CLOCKS.fails("no Date header")
    # The header has whole seconds.
    skew = answer.vendor_time - int(answer.at)
    words = "the same second"
    if skew:
        words = f"the vendor is {abs(skew):.0f} s {'behind' if skew < 0 else 'ahead'}"
    return _CLOCKS.judged(abs(skew) <= _CLOCK_SECONDS, words)


def form_of(value: str, now: float) -> str:
    """What kind of moment a header holds, never the value itself."""
    value = value.strip()
    if value and _NUMBER_CHARACTERS.issuperset(value) and value.count(".") <= 1:
        number = float(value) if value != "." else 0.0
        for unit, words in ((1.0, "epoch seconds"), (1000.0, "epoch milliseconds")):
            if abs(number / unit - now) < 366 * 86_400:
                return words
        return "seconds from now" if number < 366 * 86_400 else "another number"
    return "a date" if http_date(value) else "another text"


def require_answer(answer: Answer) -> None:
    """Raise the error of a first request that got no answer at all."""
    if isinstance(answer.error, AirbyteTracedException) and not answer.status:
        raise answer.error
