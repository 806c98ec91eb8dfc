"""What both sources share of reading a vendor's HTTP API: configuration, waiting, failing.

Importing this package imports nothing else, so that a process can take signals before it spends a
second on the CDK.
"""

from typing import Any


def launch(source: Any, args: list[str]) -> None:
    """Run one verb of a source as a process: `launch(SourceCourier(), sys.argv[1:])`."""
    from http_source.process import launch  # noqa: PLC0415 - imports the CDK

    launch(source, args)
