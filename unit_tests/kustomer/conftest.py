"""Fixtures: an org that answers at Kustomer's address, a fixed clock, and syncs of that org."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import freezegun
import orjson
import pytest
import requests_mock as wire
from airbyte_cdk.models import AirbyteMessage, AirbyteStreamStatus, FailureType, SyncMode, Type
from airbyte_cdk.test import entrypoint_wrapper
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.state_builder import StateBuilder

from fake_vendor import Kustomer, KustomerSwitches, Reply, Request
from fake_vendor.clock import Clock
from source_kustomer import SourceKustomer

HOST = "https://api.kustomerapp.com"
# A whole second, because an HTTP date has no fractions.
NOW = datetime(2026, 6, 1, tzinfo=UTC)

Ticking = freezegun.api.FrozenDateTimeFactory
Edit = Callable[[dict[str, Any], Request, int], None]


class Sync:
    """The output of one `read`."""

    def __init__(self, output: entrypoint_wrapper.EntrypointOutput) -> None:
        self.messages = list(output.get_message_iterator())
        self.output = output

    def rows(self, stream: str) -> list[dict[str, Any]]:
        """The rows of a stream, in order."""
        records = (message.record for message in self.messages if message.type is Type.RECORD)
        return [record.data for record in records if record.stream == stream]

    def ids(self, stream: str) -> list[str]:
        """The ids of a stream's rows, in order."""
        return [_identity(row) for row in self.rows(stream)]

    def states(self, stream: str) -> list[dict[str, Any]]:
        """The states of a stream, in order."""
        return [state for _, state in self.checkpoints(stream)]

    def state(self, stream: str) -> dict[str, Any]:
        """The last state of a stream."""
        return self.states(stream)[-1]

    def checkpoints(self, stream: str) -> list[tuple[list[str], dict[str, Any]]]:
        """Every state of a stream, with the ids of all rows that were emitted before it."""
        found, before = [], []
        for message in self.messages:
            if message.type is Type.RECORD and message.record.stream == stream:
                before.append(_identity(message.record.data))
            elif message.type is Type.STATE and _stream_of(message) == stream:
                found.append((list(before), dict(message.state.stream.stream_state.__dict__)))
        return found

    def status(self, stream: str) -> AirbyteStreamStatus:
        """The last status of a stream."""
        return self.output.get_stream_statuses(stream)[-1]

    @property
    def failures(self) -> set[FailureType]:
        """The types of all errors."""
        return {error.trace.error.failure_type for error in self.output.errors}

    def failure(self, stream: str) -> str:
        """The error message of one stream."""
        (message,) = (
            error.trace.error.message
            for error in self.output.errors
            if error.trace.error.stream_descriptor is not None
            and error.trace.error.stream_descriptor.name == stream
        )
        return message

    @property
    def logs(self) -> list[str]:
        """All lines of the log."""
        return [message.log.message for message in self.output.logs]

    @property
    def everything_said(self) -> str:
        """The complete output."""
        return "\n".join(map(str, self.messages))


def _identity(row: Mapping[str, Any]) -> str:
    """Return the id of a row. A custom attribute has no id, so its kind and name are used."""
    return row["id"] if "id" in row else f"{row['resource']}.{row['name']}"


def _stream_of(message: AirbyteMessage) -> str:
    return message.state.stream.stream_descriptor.name


class Edited:
    """A vendor whose good answers are changed by `edit(body, request, number)`.

    The number counts the answers of one path from 1. If `edit` returns a `Reply`, that is the
    answer instead.
    """

    def __init__(self, vendor: Kustomer, edit: Edit) -> None:
        self._vendor, self._edit = vendor, edit
        self._answers: dict[str, int] = {}
        self.clock: Clock = vendor.clock

    def handle(self, request: Request) -> Reply:
        """Answer one request."""
        reply = self._vendor.handle(request)
        if reply.status != 200:
            return reply
        number = self._answers[request.path] = self._answers.get(request.path, 0) + 1
        body = reply.json()
        other = self._edit(body, request, number)
        if isinstance(other, Reply):
            return Reply(other.status, reply.headers, other.body)
        return Reply(200, reply.headers, orjson.dumps(body), reply.fault)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ticking]:
    """Our clock and the vendor's stand still at `NOW`. `time.tick(seconds)` moves both."""
    with freezegun.freeze_time(NOW, ignore=["_pytest.timing"]) as frozen:
        yield frozen


@pytest.fixture
def org(requests_mock: wire.Mocker, answer: Any, time: Ticking) -> Callable[..., Kustomer]:
    """Make an org that answers: `org({"note": 20}, page_size_max=7, edit=...)`.

    Arguments that `Kustomer` does not have are its switches.
    """

    def make(
        rows: Any = 0,
        *,
        host: str = HOST,
        edit: Edit | None = None,
        list_rows: Any = 0,
        setting_rows: Any = 0,
        child_rows: Any = 0,
        event_rows: Any = 0,
        years: float = 1,
        ties: tuple[int, ...] = (),
        **switches: Any,
    ) -> Kustomer:
        vendor = Kustomer(
            rows,
            list_rows=list_rows,
            setting_rows=setting_rows,
            child_rows=child_rows,
            event_rows=event_rows,
            years=years,
            ties=ties,
        )
        vendor.switches = KustomerSwitches(**switches)
        answer(requests_mock, host, vendor if edit is None else Edited(vendor, edit))
        return vendor

    return make


@pytest.fixture
def sync(tmp_path: Path) -> Callable[..., Sync]:
    """Read streams of an org: `sync(vendor, "notes", state={"notes": {...}})`.

    The default of `mode` is incremental. A `state_file` is passed unchanged. A `source_class` may
    have streams of a test besides the real ones.
    """

    def sync(
        vendor: Kustomer,
        *streams: str,
        mode: str = "incremental",
        state: Mapping[str, Mapping[str, Any]] | None = None,
        state_file: Any = None,
        source_class: type[SourceKustomer] = SourceKustomer,
        **config: Any,
    ) -> Sync:
        source = source_class()
        whole = {"api_token": vendor.token, "start_date": "2025-01-01"} | config
        catalog = CatalogBuilder()
        for stream in streams:
            catalog.with_stream(stream, SyncMode(mode))
        if state_file is None:
            builder = StateBuilder()
            for stream, value in (state or {}).items():
                builder.with_stream_state(stream, value)
            return Sync(entrypoint_wrapper.read(source, whole, catalog.build(), builder.build()))
        arguments = ["read", "--config", _file(tmp_path / "config.json", whole)]
        arguments += ["--catalog", _file(tmp_path / "catalog.json", _catalog(streams, mode))]
        arguments += ["--state", _file(tmp_path / "state.json", state_file)]
        return Sync(entrypoint_wrapper._run_command(source, arguments))

    return sync


def _catalog(streams: tuple[str, ...], mode: str) -> dict[str, Any]:
    modes = ["full_refresh", "incremental"]
    return {
        "streams": [
            {
                "stream": {"name": name, "json_schema": {}, "supported_sync_modes": modes},
                "sync_mode": mode,
                "destination_sync_mode": "append",
            }
            for name in streams
        ]
    }


def _file(path: Path, content: Any) -> str:
    return entrypoint_wrapper.make_file(path, json.dumps(content))
