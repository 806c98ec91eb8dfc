"""The command line: its help, and that it takes what the CDK's own parser takes."""

import pytest
from airbyte_cdk.entrypoint import AirbyteEntrypoint

from http_source.arguments import parse_arguments
from source_courier import SourceCourier
from source_kustomer import SourceKustomer

SOURCES = (SourceCourier, SourceKustomer)
FILES = ["--config", "c.json", "--manifest-path", "m.yaml", "--components-path", "c.py"]
LINES = (
    ["spec"],
    ["spec", "--debug"],
    ["check", *FILES],
    ["discover", "--debug", *FILES],
    ["read", *FILES, "--catalog", "k.json"],
    ["read", *FILES, "--catalog", "k.json", "--state", "s.json", "--debug"],
)


def helped(source, capsys, *args):
    with pytest.raises(SystemExit) as ended:
        parse_arguments(source().verbs(), [*args, "--help"])
    assert ended.value.code == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("args", LINES, ids=" ".join)
def test_what_the_cdk_takes_is_taken_with_the_same_meaning(args):
    ours = vars(parse_arguments(SourceCourier().verbs(), args))
    theirs = vars(AirbyteEntrypoint.parse_args(args))
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize("source", SOURCES)
def test_help_names_every_command_with_its_purpose(capsys, source):
    text = helped(source, capsys)
    for verb in source().verbs():
        assert f"{verb.name} {verb.summary}" in text
    for name, purpose in (
        ("spec", "Print the fields of the configuration"),
        ("check", "Find out whether a sync with this configuration can start"),
        ("discover", "Print the streams, their columns and their sync modes"),
        ("read", "Print the rows of the streams in a catalog"),
    ):
        assert f"{name} {purpose}" in text


@pytest.mark.parametrize("source", SOURCES)
def test_each_command_says_which_files_it_needs(capsys, source):
    for name, needs, takes in (
        ("spec", (), ()),
        ("check", ("config",), ()),
        ("discover", ("config",), ()),
        ("read", ("config", "catalog"), ("state",)),
        *((verb.name, ("config",), ()) for verb in source().verbs()),
    ):
        usage, _, rest = helped(source, capsys, name).partition("options:")
        for file in needs:
            assert f" --{file} FILE" in usage
        for file in takes:
            assert f"[--{file} FILE]" in usage
        for file in (*needs, *takes):
            assert f"--{file} FILE" in rest
        # Options of the CDK that mean nothing here.
        assert "manifest" not in usage + rest
