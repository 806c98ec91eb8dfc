"""Reads Kustomer into a DuckDB file with PyAirbyte. Run it again, and it reads what has changed.

    python examples/pyairbyte_duckdb.py secrets/kustomer.json kustomer.duckdb \
        "airbyte-source-kustomer --find-links dist" customers conversations tags

Needs the package `airbyte` and Python 3.11 or 3.12, in an activated environment. docs/pyairbyte.md
tells more.
"""

import json
import os
import sys
from pathlib import Path

# Without this, PyAirbyte asks Airbyte's registry, and fails if that cannot be reached.
os.environ.setdefault("AIRBYTE_OFFLINE_MODE", "1")

import airbyte as ab
from airbyte.exceptions import PyAirbyteError


def main(config: str, database: str, pip_url: str, *streams: str) -> int:
    """Return the number of streams that failed."""
    source = ab.get_source(
        "source-kustomer", config=json.loads(Path(config).read_text()), pip_url=pip_url
    )
    source.check()
    cache = ab.DuckDBCache(db_path=database)
    failed = []
    # One stream per read: if one stream fails, PyAirbyte fails the read of all.
    for stream in streams or source.get_available_streams():
        try:
            source.read(cache=cache, streams=[stream])
        except PyAirbyteError:
            failed.append(stream)  # PyAirbyte has printed the error of the source
    print("Failed:", ", ".join(failed) or "none")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
