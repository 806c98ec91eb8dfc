"""Loads streams of Kustomer into DuckDB with dlt. Run it again, and it loads what has changed.

    python examples/dlt_kustomer.py secrets/kustomer.json kustomer.duckdb customers conversations

Needs the package `dlt[duckdb]`, and source-kustomer on the PATH.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import dlt


def run(verb: str, config: str, **documents: object) -> Iterator[dict]:
    """Yield the messages of the source. Raises CalledProcessError if it fails."""
    with tempfile.TemporaryDirectory() as name:
        command = ["source-kustomer", verb, "--config", config]
        for option, document in documents.items():
            path = Path(name) / option
            path.write_text(json.dumps(document))
            command += [f"--{option}", str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            yield from map(json.loads, process.stdout)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)


def rows(config: str, stream: dict) -> Iterator[dict]:
    """Yield the rows of a stream. dlt saves the state together with the rows."""
    mode = "incremental" if "incremental" in stream["supported_sync_modes"] else "full_refresh"
    chosen = {"stream": stream, "sync_mode": mode, "destination_sync_mode": "append"}
    saved = dlt.current.resource_state()
    state = saved.get("airbyte", [])
    for message in run("read", config, catalog={"streams": [chosen]}, state=state):
        if message["type"] == "RECORD":
            yield message["record"]["data"]
        elif message["type"] == "STATE":
            saved["airbyte"] = [message["state"]]


def main(config: str, database: str, *streams: str) -> None:
    """Load the streams, each into a table of its name."""
    pipeline = dlt.pipeline(
        "kustomer", destination=dlt.destinations.duckdb(database), dataset_name="source_kustomer"
    )
    catalog = next(m["catalog"] for m in run("discover", config) if m["type"] == "CATALOG")
    for stream in catalog["streams"]:
        if stream["name"] in streams:
            resource = dlt.resource(
                rows,
                name=stream["name"],
                primary_key=[name for (name,) in stream["source_defined_primary_key"]],
                write_disposition="merge",
                max_table_nesting=0,  # objects and lists are JSON, not tables of their own
            )
            print(pipeline.run(resource(config, stream)))


if __name__ == "__main__":
    main(*sys.argv[1:])
