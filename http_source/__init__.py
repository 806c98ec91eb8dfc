"""What both sources share to read a vendor's HTTP API: configuration, waits and errors.

The import of this package imports nothing else. So a process can handle signals before it spends a
second on the import of the CDK.
"""

from typing import Any


def launch(source: Any, args: list[str]) -> None:
    """Run one command of a source as a process: `launch(SourceCourier(), sys.argv[1:])`."""
    from http_source.process import launch  # noqa: PLC0415 - imports the CDK

    launch(source, args)
