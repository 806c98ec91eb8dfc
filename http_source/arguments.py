"""The command line of a source: Airbyte's four commands and the source's own verbs.

The CDK's parser knows four commands, describes none of them, and offers options for sources made
of YAML. Its entrypoint takes any parsed arguments, so these are parsed here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from http_source.verbs import Verb

# (name, purpose, the files that it needs)
_COMMANDS = (
    ("spec", "Print the fields of the configuration, as a JSON schema.", ()),
    ("check", "Find out whether a sync with this configuration can start.", ("config",)),
    ("discover", "Print the streams, their columns and their sync modes.", ("config",)),
    (
        "read",
        "Print the rows of the streams in a catalog, and states from which a later read continues.",
        ("config", "catalog"),
    ),
)
_FILES = {
    "config": "the configuration, a JSON file with the fields that spec prints",
    "catalog": "the streams to read, a JSON file: a configured catalog in Airbyte's form",
}
_MESSAGES = "Prints Airbyte messages on stdout, one JSON object per line."
_OVERVIEW = """\
spec, check, discover and read print Airbyte messages on stdout, one JSON object per line.
All other commands print text. If stderr is a terminal, read shows its progress there.

The exit code is 0, or 1 if a command failed, or 2 if the arguments are wrong.

  %(prog)s check --config secrets/config.json
  %(prog)s read --config secrets/config.json --catalog catalog.json > rows.jsonl
  %(prog)s read --help
"""


def parse_arguments(verbs: Sequence[Verb], args: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments behind the program's name.

    `command` is the name of the command, and `verb` is the object of a verb of the source's own, or
    None. Prints help, or says what is wrong, and ends the process then, as argparse does it.
    """
    parser = argparse.ArgumentParser(
        description="An Airbyte source.",
        epilog=_OVERVIEW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, purpose, files in _COMMANDS:
        _add_command(commands.add_parser(name, help=purpose, description=purpose), name, files)
    for verb in verbs:
        added = commands.add_parser(verb.name, help=verb.summary, description=verb.purpose)
        added.set_defaults(verb=verb)
        _add_file(added, "config")
        verb.add_arguments(added)
    if not args:
        parser.print_help(sys.stderr)
        parser.exit(2, f"\n{parser.prog}: error: no command was given\n")
    return parser.parse_args(args)


def _add_command(parser: argparse.ArgumentParser, name: str, files: Sequence[str]) -> None:
    parser.epilog = _MESSAGES
    parser.set_defaults(verb=None)
    for file in files:
        _add_file(parser, file)
    if name == "read":
        parser.add_argument(
            "--state",
            metavar="FILE",
            help="continue from here: a JSON file with states, as an earlier read printed them",
        )
    parser.add_argument("--debug", action="store_true", help="log more, for developers")
    # The CDK's options for sources made of YAML. They are accepted as before, and mean nothing.
    for option in ("--manifest-path", "--components-path"):
        if files:
            parser.add_argument(option, help=argparse.SUPPRESS)


def _add_file(parser: argparse.ArgumentParser, file: str) -> None:
    parser.add_argument(f"--{file}", metavar="FILE", required=True, help=_FILES[file])
