"""The requests to a vendor and its answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One request and its result. `status` is 0 if the connection was reset."""

    number: int
    at_s: float
    method: str
    path: str
    endpoint: str
    status: int
    fault: str = ""
    page: int = 0
    page_size: int = 0
    context: str = ""
    criteria: Any = None
    rows: int = 0


class Journal:
    """All requests so far, and their sums."""

    def __init__(self) -> None:
        """Start empty."""
        self.entries: list[Entry] = []
        self._counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("endpoints", "contexts", "statuses", "faults", "rows")
        }

    def write(self, entry: Entry) -> None:
        """Add one request."""
        self.entries.append(entry)
        counts = self._counts
        counts["endpoints"][entry.endpoint] += 1
        counts["statuses"][str(entry.status)] += 1
        if entry.context:
            counts["contexts"][f"{entry.endpoint}/{entry.context}"] += 1
        if entry.fault:
            counts["faults"][entry.fault] += 1
        if entry.rows:
            counts["rows"][entry.context or entry.endpoint] += entry.rows

    def stats(self) -> dict[str, Any]:
        """Return the sums: requests by endpoint, context and status, faults, rows served."""
        return {
            "requests": len(self.entries),
            "refused_429": self._counts["statuses"]["429"],
            "rows_served": self._counts["rows"].total(),
        } | {name: dict(counter) for name, counter in self._counts.items()}

    def clear(self) -> None:
        """Remove all requests."""
        self.entries.clear()
        for counter in self._counts.values():
            counter.clear()
