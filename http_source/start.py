"""What both commands begin with. Imports next to nothing before signals are taken."""

from __future__ import annotations

import gc
import importlib
import sys

from http_source.signals import end_on_signals


def start(package: str, source: str) -> None:
    """Run the verb on the command line, as in `start("source_courier", "SourceCourier")`."""
    end_on_signals()
    # Importing the CDK makes a million objects, none of them garbage, and takes a fifth longer
    # while the collector looks for some (`make bench`, scenario start-up). So it rests meanwhile.
    gc.disable()
    launching = importlib.import_module("http_source.process")
    made = getattr(importlib.import_module(package), source)()
    gc.enable()
    launching.launch(made, sys.argv[1:])
