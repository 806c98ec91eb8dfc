"""A Courier whose messages are spread evenly over time, or most of which are recent.

`python -m benchmarks.courier_vendor READY_FILE '{"messages": 4000, "spread": "even", ...}'`
`switches` are those of the fake Courier. `tables` are the rows of its other lists. With the spread
"recent", the age of a message is exponential, with a mean of a week: half are newer than five days.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from fake_vendor import FakeVendor, Kustomer
from fake_vendor.courier import Courier, CourierSwitches

_YEARS = 0.25
_MEAN_AGE_DAYS = 7


def main(ready: Path, facts: Mapping[str, Any]) -> None:
    """Serve until SIGTERM or SIGINT."""
    is_even = facts["spread"] == "even"
    vendor = Courier(
        facts["messages"] if is_even else 0,
        tables=facts["tables"],
        years=_YEARS,
        switches=CourierSwitches(**facts["switches"]),
    )
    if not is_even:
        random, now = Random(7), datetime.now(UTC) - timedelta(minutes=1)
        for _ in range(facts["messages"]):
            vendor.insert(now - timedelta(days=random.expovariate(1 / _MEAN_AGE_DAYS)))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with FakeVendor(Kustomer(0, list_rows=0), vendor) as server:
        draft = ready.with_suffix(".part")
        draft.write_text(server.url)
        draft.replace(ready)
        stopped.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
