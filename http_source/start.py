"""The start of both console scripts. It handles signals before it imports anything large."""

from __future__ import annotations

import importlib
import sys

from http_source import tuning
from http_source.signals import end_on_signals


def start(package: str, source: str) -> None:
    """Run the command in `sys.argv`, as in `start("source_courier", "SourceCourier")`."""
    end_on_signals()
    tuning.before_imports()
    process = importlib.import_module("http_source.process")
    made = getattr(importlib.import_module(package), source)()
    process.launch(made, sys.argv[1:])
