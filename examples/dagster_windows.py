"""Reads Kustomer by stream and window with Dagster: the recipe of docs/backfill.md.

    export CONFIGS=secrets ROWS=rows STREAMS=conversations,messages
    dagster dev -f examples/dagster_windows.py

- `$CONFIGS/windows/` has one configuration per window, such as `01.json`, with a key of its own
  and the `start_date` and `end_date` that `source-kustomer windows` proposes. The names sort as
  the windows follow each other.
- `$CONFIGS/kustomer.json` is the configuration of the permanent connection.

For each stream there are two assets. `<stream>_windows` has a partition per window. `<stream>`
continues from the state of the last window, and from its own state afterwards. Materialize it on a
schedule. Rows are written to `$ROWS/<stream>/`, one file per read, in JSON, one row a line. A row
may be in several files: the newest `updated_at` of an id counts.

Streams that are read at the same time with the same key share its rate limit. If you run N of them
side by side, set `rate_limit_share` to 100/N in the configurations.

Needs the package `dagster`, and source-kustomer on the PATH.
"""

import json
import os
import subprocess
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

CONFIGS = Path(os.environ.get("CONFIGS", "secrets"))
ROWS = Path(os.environ.get("ROWS", "rows"))
STREAMS = os.environ.get("STREAMS", "conversations,customers,messages,notes").split(",")
WINDOWS = sorted(path.stem for path in (CONFIGS / "windows").glob("*.json"))

windows = dg.StaticPartitionsDefinition(WINDOWS)
# A read that failed is repeated. Whatever it has sent comes again.
retry = dg.RetryPolicy(max_retries=2, delay=30)


def read(stream: str, config: Path, target: Path, state: Path | None = None) -> int:
    """Write the rows of a stream to a file, and its last state beside it. Returns their number."""
    target.parent.mkdir(parents=True, exist_ok=True)
    entry = {"name": stream, "json_schema": {}, "supported_sync_modes": ["incremental"]}
    chosen = {"stream": entry, "sync_mode": "incremental", "destination_sync_mode": "append"}
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        catalog, rows = Path(name) / "catalog.json", Path(name) / "rows.jsonl"
        catalog.write_text(json.dumps({"streams": [chosen]}))
        command = ["source-kustomer", "read", "--config", str(config), "--catalog", str(catalog)]
        if state:
            command += ["--state", str(state)]
        count, states, errors = 0, [], []
        with (
            rows.open("w") as file,
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
        ):
            for message in map(json.loads, process.stdout):
                match message:
                    case {"record": {"data": data}}:
                        file.write(json.dumps(data) + "\n")
                        count += 1
                    case {"state": last}:
                        states = [last]
                    case {"trace": {"error": {"message": sentence}}}:
                        errors.append(sentence)
        if process.returncode:
            raise dg.Failure(" ".join(errors) or f"exit code {process.returncode}")
        rows.replace(target)
        # The state is written last. So it never says more than the rows do.
        target.with_suffix(".state.json").write_text(json.dumps(states))
    return count


def assets_of(stream: str) -> list[dg.AssetsDefinition]:
    """Return the two assets of a stream."""
    folder = ROWS / stream

    @dg.asset(name=f"{stream}_windows", partitions_def=windows, retry_policy=retry)
    def in_windows(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        window = context.partition_key
        config = CONFIGS / "windows" / f"{window}.json"
        rows = read(stream, config, folder / f"window-{window}.jsonl")
        return dg.MaterializeResult(metadata={"rows": rows})

    @dg.asset(name=stream, deps=[in_windows], retry_policy=retry)
    def since() -> dg.MaterializeResult:
        states = sorted(folder.glob("since-*.state.json"))
        state = states[-1] if states else folder / f"window-{WINDOWS[-1]}.state.json"
        target = folder / f"since-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.jsonl"
        rows = read(stream, CONFIGS / "kustomer.json", target, state)
        return dg.MaterializeResult(metadata={"rows": rows})

    return [in_windows, since]


defs = dg.Definitions(assets=[asset for stream in STREAMS for asset in assets_of(stream)])
