"""What both commands begin with. It imports next to nothing before signals are taken."""

from __future__ import annotations

import importlib
import sys

from http_source import tuning
from http_source.signals import end_on_signals


def start(package: str, source: str) -> None:
    """Run the verb on the command line, as in `start("source_courier", "SourceCourier")`."""
    end_on_signals()
    tuning.before_imports()
    process = importlib.import_module("http_source.process")
    made = getattr(importlib.import_module(package), source)()
    process.launch(made, sys.argv[1:])
