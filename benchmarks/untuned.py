"""Runs the Kustomer source with one setting of http_source/tuning.py switched off.

python -m benchmarks.untuned ONE_HEAP read --config ... --catalog ...
"""

from __future__ import annotations

import sys
from typing import Any

from http_source import tuning

# The value of each setting when it is off: the defaults of Python, glibc and `requests`.
OFF: dict[str, Any] = {
    "COLLECTOR_RESTS_DURING_IMPORT": False,
    "COLLECTOR_THRESHOLDS": (700, 10, 10),
    "ONE_HEAP": False,
    "BODY_CHUNK_BYTES": 10 * 1024,
}


def main() -> None:
    """Switch off the named setting, or none, and run the command."""
    setting = sys.argv.pop(1)
    if setting in OFF:
        setattr(tuning, setting, OFF[setting])
    from main_kustomer import main as run  # noqa: PLC0415 - the setting must change first

    run()


if __name__ == "__main__":
    main()
