"""Compares the output of `spec` and `discover` with the snapshots.

A changed or missing part fails, because the configurations and tables of users depend on it. An
added part fails too, until you accept it:

    python -m unit_tests.test_snapshots

This command accepts additions only. A changed or removed part is a breaking change: edit the
snapshot by hand, describe it in CHANGELOG.md, and raise the major version.
"""

import json
import sys
from pathlib import Path

import pytest
from airbyte_cdk.models import AirbyteMessageSerializer
from airbyte_cdk.test.entrypoint_wrapper import _run_command, discover

from source_courier import SourceCourier
from source_kustomer import SourceKustomer

PLACE = Path(__file__).parent / "snapshots"
SOURCES = {
    "courier": (SourceCourier, {"api_key": "made-up"}),
    "kustomer": (SourceKustomer, {"api_token": "made-up", "start_date": "2024-01-01"}),
}
VERBS = ("spec", "discover")


def said(source, verb):
    """Return the answer to a command, without texts for people, and with streams by their names."""
    made, config = SOURCES[source]
    if verb == "spec":
        (message,) = _run_command(made(), ["spec"]).spec_messages
        return message.spec.connectionSpecification
    message = AirbyteMessageSerializer.dump(discover(made(), config).catalog)
    return {stream["name"]: stream for stream in message["catalog"]["streams"]}


# Texts for people may change at any time.
_WORDS = frozenset({"description", "title", "examples", "pattern_descriptor", "order"})


def without_words(value):
    if isinstance(value, dict):
        return {
            key: without_words(item)
            for key, item in value.items()
            # A column may have the same name as one of these words.
            if key not in _WORDS or isinstance(item, dict)
        }
    return [without_words(item) for item in value] if isinstance(value, list) else value


def differences(before, now, path=""):
    """Yields ("added" | "missing" | "changed", path)."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() - now.keys():
            yield "missing", f"{path}/{key}"
        for key in now.keys() - before.keys():
            yield "added", f"{path}/{key}"
        for key in before.keys() & now.keys():
            yield from differences(before[key], now[key], f"{path}/{key}")
    elif path.endswith("/supported_sync_modes") and before == now[: len(before)] != now:
        yield "added", path
    elif before != now:
        yield "changed", path


def snapshot(source, verb):
    return PLACE / f"{source}.{verb}.json"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("source", SOURCES)
def test_what_users_rest_on_is_as_it_was(source, verb):
    before = json.loads(snapshot(source, verb).read_text())
    found = sorted(differences(before, without_words(said(source, verb))))
    assert [path for kind, path in found if kind != "added"] == []
    assert [path for _, path in found] == [], "accept: python -m unit_tests.test_snapshots"


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ({"a": {"type": "string"}, "b": 1}, []),
        ({"a": {"type": "string"}, "b": 1, "c": 2}, [("added", "/c")]),
        ({"a": {"type": "string"}}, [("missing", "/b")]),
        ({"a": {"type": "integer"}, "b": 1}, [("changed", "/a/type")]),
        ({"a": {"type": "string", "format": "date"}, "b": 1}, [("added", "/a/format")]),
    ],
)
def test_an_added_part_is_told_from_a_changed_or_missing_one(now, found):
    assert list(differences({"a": {"type": "string"}, "b": 1}, now)) == found


def accept():
    """Write additions to the snapshots. Exits with 1 if anything else differs."""
    breaking = []
    for source in SOURCES:
        for verb in VERBS:
            path, now = snapshot(source, verb), without_words(said(source, verb))
            before = json.loads(path.read_text()) if path.exists() else {}
            found = [f"{path.name}{place}: {kind}" for kind, place in differences(before, now)]
            breaking += [one for one in found if not one.endswith("added")]
            if not breaking:
                path.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n")
    sys.stderr.write("".join(f"{one}\n" for one in breaking))
    sys.exit(bool(breaking))


if __name__ == "__main__":
    accept()
