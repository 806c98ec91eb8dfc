"""Compares a reader's output with the vendor's records, in its own process.

`python -m benchmarks.tally FILE '{"customers": 6000, ...}' kustomer` prints one JSON object. The
own process keeps the parent small. A child's peak memory includes the memory of its parent.
"""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from fake_vendor.data import PLURALS, object_id

_KINDS = {plural: kind for kind, plural in PLURALS.items()}
# The columns that identify a row, if it has no id of its own.
_KEYS = {
    "message_history": ("message_id", "ordinal"),
    "list_subscriptions": ("list_id", "recipientId"),
}


def tally(output: Path, expected: dict[str, int], *, courier: bool) -> dict[str, int]:
    """Count rows, distinct ids, missing ids of the vendor, and ids that the vendor never had."""
    seen: dict[str, set[str]] = {stream: set() for stream in expected}
    rows = incomplete = 0
    with output.open("rb") as lines:
        for line in lines:
            message = orjson.loads(line)
            record = message.get("record") or message
            if "data" in record:
                rows += 1
                key = _KEYS.get(record["stream"], ("id",))
                ident = "/".join(str(record["data"][column]) for column in key)
                seen.setdefault(record["stream"], set()).add(ident)
            incomplete += b'"INCOMPLETE"' in line and "trace" in message
    lost = strange = 0
    for stream, count in expected.items():
        found = seen[stream]
        if courier:  # its ids contain the time, so they are counted and not compared
            lost += max(0, count - len(found))
            strange += max(0, len(found) - count)
        else:
            wanted = {object_id(_KINDS[stream], number) for number in range(count)}
            lost += len(wanted - found)
            strange += len(found - wanted)
    distinct = sum(map(len, seen.values()))
    strange += sum(len(ids) for stream, ids in seen.items() if stream not in expected)
    return {
        "rows": rows,
        "distinct": distinct,
        "lost": lost,
        "strange": strange,
        "incomplete": incomplete,
    }


if __name__ == "__main__":
    counts = tally(
        Path(sys.argv[1]), orjson.loads(sys.argv[2]), courier=sys.argv[3:] == ["courier"]
    )
    print(orjson.dumps(counts).decode())
