"""The faults of the fake vendors, and when they happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from fake_vendor.wire import Reply

FaultKind = Literal[
    "429", "500", "503", "reset", "truncate", "html", "empty", "bad_json", "no_data", "timed_out"
]

_HTML = b"<!DOCTYPE html><html><body><h1>We will be right back</h1></body></html>"


@dataclass(frozen=True)
class Fault:
    """A fault on every nth request or on certain requests (from 1), of one endpoint or of all.

    The endpoints are listed in `ENDPOINTS` of kustomer.py and courier.py.
    """

    kind: FaultKind
    every: int = 0
    at: tuple[int, ...] = ()
    endpoint: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a fault that would never happen."""
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"no fault {self.kind!r}; there are {', '.join(get_args(FaultKind))}")
        if self.every < 1 and not self.at:
            raise ValueError(f"fault {self.kind!r} needs a positive `every`, or `at`")

    @classmethod
    def of(cls, value: Any) -> Fault:
        """Make a fault from a Fault, from JSON, or from `KIND:EVERY[:ENDPOINT]`."""
        if isinstance(value, Fault):
            return value
        if isinstance(value, Mapping):
            try:
                fault = cls(**value)
            except TypeError as error:
                raise ValueError(f"not a fault: {dict(value)!r}") from error
            return replace(fault, at=tuple(fault.at))
        kind, _, rest = str(value).partition(":")
        every, _, endpoint = rest.partition(":")
        if not every.isdigit():
            raise ValueError(f"not KIND:EVERY[:ENDPOINT]: {value!r}")
        return cls(kind, int(every), endpoint=endpoint)  # type: ignore[arg-type]

    def strikes(self, number: int) -> bool:
        """Whether the fault hits the request with this number."""
        return number in self.at or (self.every > 0 and number % self.every == 0)


class FaultPlan:
    """Counts requests and returns the fault of each."""

    def __init__(self) -> None:
        """Start counting at zero."""
        self._seen: Counter[str] = Counter()

    def next(self, endpoint: str, faults: tuple[Fault, ...]) -> FaultKind | Literal[""]:
        """Count one request and return its fault or "". The first fault in `faults` wins."""
        self._seen[""] += 1
        self._seen[endpoint] += 1
        for fault in faults:
            if fault.endpoint in ("", endpoint) and fault.strikes(self._seen[fault.endpoint]):
                return fault.kind
        return ""


def broken(reply: Reply, fault: str) -> Reply:
    """Apply a fault to the bytes of a reply. Other faults, which change its meaning, do nothing."""
    if fault == "reset":
        return replace(reply, fault="reset")
    if fault == "truncate":
        return replace(reply, fault="truncate")
    if fault == "html":
        html = reply.headers | {"content-type": "text/html; charset=utf-8"}
        return replace(reply, status=200, headers=html, body=_HTML)
    if fault == "empty":
        return replace(reply, body=b"")
    if fault == "bad_json":
        return replace(reply, body=reply.body[: len(reply.body) // 2])
    return reply
