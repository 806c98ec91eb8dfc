"""Verbs of a source beside spec, check, discover and read: for people, not for Airbyte.

A verb prints text on stdout, and no Airbyte messages. Its errors go to stderr as one sentence.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TextIO

from airbyte_cdk.sources import Source
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets
from airbyte_cdk.utils.traced_exception import AirbyteTracedException


class Verb(ABC):
    """One verb, such as `source-kustomer doctor --config secrets/kustomer.json`."""

    name: ClassVar[str]
    # What the list of commands says of it, in one sentence.
    summary: ClassVar[str]
    # What its own `--help` says of it.
    purpose: ClassVar[str]

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add arguments beside `--config`."""

    @abstractmethod
    def run(self, config: Mapping[str, Any], args: argparse.Namespace, out: TextIO) -> int:
        """Write what the user asked for to `out`, and return the exit code.

        May raise an AirbyteTracedException.
        """


def run_verb(source: Source, verb: Verb, parsed: argparse.Namespace) -> int:
    """Run a verb with its parsed arguments, and return its exit code."""
    # The CDK logs and prints Airbyte messages, which nobody reads here.
    logging.disable(logging.CRITICAL)
    out = sys.stdout
    try:
        with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
            return verb.run(source.read_config(parsed.config), parsed, out)
    except AirbyteTracedException as error:
        sys.stderr.write(f"{filter_secrets(str(error.message))}\n")
        return 1
    finally:
        logging.disable(logging.NOTSET)
