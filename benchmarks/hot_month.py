"""A Kustomer with few changes in ten years, and very many in one month five years ago.

`python -m benchmarks.hot_month READY_FILE '{"customers": 6000, ...}' '{"users": 150, ...}'`
Nine of ten rows of each searched stream are in the hot month. The others are spread evenly over ten
years. Notes have no archive. So they are spread evenly over the last year and a half.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fake_vendor import FakeVendor, Kustomer
from fake_vendor.data import PLURALS

_KINDS = {plural: kind for kind, plural in PLURALS.items()}


def main(ready: Path, rows: dict[str, int], list_rows: dict[str, int]) -> None:
    """Serve until SIGTERM or SIGINT."""
    vendor = Kustomer(0, list_rows={_KINDS[name]: count for name, count in list_rows.items()})
    now = datetime.now(UTC) - timedelta(minutes=10)
    for stream, count in rows.items():
        hot = 0 if stream == "notes" else count * 9 // 10
        quiet = timedelta(days=365 * (1.5 if stream == "notes" else 10))
        spread(vendor, _KINDS[stream], count - hot, now - quiet, now)
        spread(vendor, _KINDS[stream], hot, now - timedelta(1826), now - timedelta(1796))
    vendor.warm()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with FakeVendor(vendor) as server:
        draft = ready.with_suffix(".part")
        draft.write_text(server.url)
        draft.replace(ready)
        stopped.wait()


def spread(vendor: Kustomer, kind: str, count: int, start: datetime, end: datetime) -> None:
    """Insert rows at even intervals."""
    for number in range(count):
        vendor.insert(kind, start + (end - start) * number / count, indexed=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3]))
