"""A short soak, and tests that it fails if a row is lost or damaged, or a state is too late."""

import json
from pathlib import Path

import pytest

from integration_tests import destination, soak
from source_kustomer.search import SearchStream

SCHEMA = {
    "properties": {
        "id": {"type": ["null", "string"]},
        "at": {"type": ["null", "string"], "format": "date-time"},
        "size": {"type": ["null", "integer"]},
        "parts": {
            "type": ["null", "array"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}},
        },
        "free": {"type": ["null", "object"], "additionalProperties": True},
    }
}
SEED = 8


def silent(_: str) -> None:
    pass


def line(kind: str, **content) -> bytes:
    return (json.dumps({"type": kind, **content}) + "\n").encode()


def record(**data) -> bytes:
    return line("RECORD", record={"stream": "things", "data": data, "emitted_at": 0})


def status(name: str) -> bytes:
    told = {"stream_descriptor": {"name": "things"}, "status": name}
    return line("TRACE", trace={"type": "STREAM_STATUS", "stream_status": told})


@pytest.fixture
def table() -> destination.Destination:
    made = destination.Destination({"things": SCHEMA})
    made.begin_sync()
    made.begin("things", overwrite=False, resumed=False)
    return made


def test_a_short_soak_finds_nothing():
    totals = soak.soak(SEED, 20, say=silent)
    assert totals.endings["complete"] > 5
    assert totals.endings["killed"] > 0
    assert totals.faults.total() > 10
    assert totals.rows > 1000


def test_a_seed_always_gives_the_same_soak():
    assert soak.soak(SEED, 4, say=silent) == soak.soak(SEED, 4, say=silent)


class Forgetful(destination.Destination):
    """A destination that loses one of two hundred rows."""

    def take(self, line: bytes) -> dict:
        message = super().take(line)
        if message["type"] == "RECORD" and len(self.arrived) % 200 == 0:
            copy = self.copies[message["record"]["stream"]]
            copy.claimed.pop(message["record"]["data"]["id"], None)
        return message


class Spoiling(destination.Destination):
    """A destination without the column `additional_attributes`."""

    def __init__(self, schemas) -> None:
        columns = {name: dict(schema["properties"]) for name, schema in schemas.items()}
        for own in columns.values():
            own.pop("additional_attributes")
        super().__init__({name: {"properties": own} for name, own in columns.items()})


@pytest.mark.parametrize("broken", [Forgetful, Spoiling])
def test_it_fails_with_a_broken_destination_and_names_seed_and_sync(monkeypatch, broken):
    monkeypatch.setattr(soak, "Destination", broken)
    with pytest.raises(
        soak.DiffersError, match=rf"seed {SEED}, sync \d+ of Source.*(lost|missing)"
    ):
        soak.soak(SEED, 40, say=silent)


def test_it_fails_when_kustomer_s_states_claim_what_is_not_settled(monkeypatch):
    monkeypatch.setattr(SearchStream, "index_lag", 0)
    monkeypatch.setattr("source_kustomer.lists.INDEX_LAG", 0)
    with pytest.raises(soak.DiffersError, match=r"the state claims all below"):
        soak.soak(SEED, 40, say=silent)


class Skipping(soak.Workspace):
    """A Courier whose cursors skip a row. The source cannot detect it, but the soak does."""

    def _issue(self, message):
        place = self._messages.index(message)
        return super()._issue(self._messages[max(0, place - 1)])


def test_it_fails_when_a_walk_of_courier_leaves_a_message_out(monkeypatch):
    monkeypatch.setattr(soak, "Workspace", Skipping)
    with pytest.raises(soak.DiffersError, match=r"SourceCourier: message .* is missing"):
        soak.soak(SEED, 40, say=silent)


def test_the_destination_drops_what_no_schema_declares(table):
    parts = [{"name": "a", "size": 1}, {"name": 7}, "text"]
    table.take(record(id="1", other=1, parts=parts, free={"any": {"thing": [1]}}))
    assert table.copies["things"].rows["1"] == {
        "id": "1",
        "parts": [{"name": "a"}, {"name": None}, None],
        "free": {"any": {"thing": [1]}},
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [("at", "today"), ("at", "20240102"), ("at", 5), ("size", "5"), ("size", True), ("size", 5.5)],
)
def test_the_destination_nulls_what_has_another_type(table, column, value):
    table.take(record(id="1", **{column: value}))
    assert table.copies["things"].rows["1"] == {"id": "1", column: None}


@pytest.mark.parametrize(
    "content",
    [
        b'{"type": "LOG", "n": NaN}\n',
        b'{"type": "LOG", "n": Infinity}\n',
        b'{"type": "LOG", "t": "\\ud83d"}\n',
        b'{"type": "LOG", "t": "\xff"}\n',
        b'{"type": "LOG"}',
        b'{"type": "LO\n',
        b"[]\n",
    ],
)
def test_the_destination_refuses_what_is_no_strict_json(table, content):
    with pytest.raises(destination.RefusedError):
        table.take(content)


def test_a_full_refresh_replaces_its_table_when_it_is_complete(table):
    table.take(record(id="1"))
    table.begin("things", overwrite=True, resumed=False)
    table.take(record(id="2"))
    assert table.copies["things"].rows.keys() == {"1"}
    table.take(status("COMPLETE"))
    assert table.copies["things"].rows.keys() == {"2"}
    with pytest.raises(destination.RefusedError):
        table.take(record(id="3"))


def test_an_unfinished_full_refresh_goes_on_with_its_table(table):
    table.begin("things", overwrite=True, resumed=False)
    table.take(record(id="1"))
    table.begin_sync()
    table.begin("things", overwrite=True, resumed=True)
    table.take(record(id="2"))
    table.take(status("COMPLETE"))
    assert table.copies["things"].rows.keys() == {"1", "2"}


def test_the_program_says_how_it_went(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [Path(soak.__file__).name, "--seed", "3", "--syncs", "10"])
    soak.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seed 3"
    assert lines[1].startswith("10 syncs until")
    assert lines[-1].startswith("10 syncs, ")
