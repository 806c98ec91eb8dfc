"""Runs the QA checks of `airbyte-internal-ops`, and prints one JSON object for each.

It runs in the environment `.qa/`, in a folder that is laid out as Airbyte's repository:

    .qa/bin/python integration_tests/qa/checks.py courier kustomer
"""

import contextlib
import functools
import io
import json
import os
import sys

# No telemetry, and no look-up in Airbyte's registry, while these packages are imported.
os.environ |= {"DO_NOT_TRACK": "1", "AIRBYTE_OFFLINE_MODE": "1"}

from airbyte_ops_mcp.connector_ops.utils import Connector
from airbyte_ops_mcp.connector_qa.checks import ENABLED_CHECKS, metadata
from airbyte_ops_mcp.connector_qa.models import Check


def run(check: Check, connector: Connector) -> tuple[str, str]:
    """Return the status of a check, and what it says. A check that raises has crashed."""
    try:
        # Checks print what they do. Stdout has only our lines.
        with contextlib.redirect_stdout(io.StringIO()):
            result = check.run(connector)
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its result
        return "CRASHED", f"{type(error).__name__}: {error}"
    return result.status.name, result.message


def main() -> None:
    # These two ask Docker Hub and Airbyte's registry, which do not know our version. A connector
    # that is not released gets more checks.
    metadata.ValidatorOptions = functools.partial(
        metadata.ValidatorOptions, disable_dockerhub_checks=True
    )
    Connector.is_released = property(lambda _connector: False)
    for source in sys.argv[1:]:
        for check in ENABLED_CHECKS:
            status, message = run(check, Connector(f"source-{source}"))
            line = {"source": source, "check": type(check).__name__}
            sys.stdout.write(json.dumps(line | {"status": status, "message": message}) + "\n")


if __name__ == "__main__":
    main()
