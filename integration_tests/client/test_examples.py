"""The examples that need large packages, run as a user runs them, twice."""

import json
import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
NAME = "airbyte-source-kustomer"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def path(dist, tmp_path_factory):
    """A PATH with source-kustomer, installed from the wheels in an environment of its own."""
    place = tmp_path_factory.mktemp("environment") / "kustomer"
    run("uv", "venv", "--quiet", "--python", sys.executable, place)
    install = ("uv", "pip", "install", "--quiet", "--python", place / "bin/python")
    run(*install, "--find-links", dist, f"{NAME}=={VERSION}")
    return os.pathsep.join([str(place / "bin"), os.environ["PATH"]])


@pytest.fixture
def config(vendor, tmp_path):
    file = tmp_path / "kustomer.json"
    file.write_text(json.dumps(vendor.config("kustomer")))
    return file


def query(database, sql):
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def ago(seconds):
    """A moment. A sync leaves the last two minutes to the next one."""
    return datetime.now(UTC) - timedelta(seconds=seconds)


def test_pyairbyte_example_reads_the_streams_that_it_can(vendor, dist, config, tmp_path):
    database = tmp_path / "kustomer.duckdb"
    pip_url = f"{NAME}=={VERSION} --find-links {dist}"
    command = [sys.executable, ROOT / "examples/pyairbyte_duckdb.py", config, database, pip_url]
    vendor.control("switches", kustomer={"refused": ["team"]})
    try:
        done = subprocess.run(
            [*command, "tags", "teams", "users"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        vendor.control("switches", kustomer={"refused": []})
    assert done.returncode == 1, done.stderr[-3000:]
    assert "Failed: teams" in done.stdout
    assert "org.permission.team.read" in done.stdout + done.stderr
    run(*command, "teams", cwd=tmp_path)
    for stream in ("tags", "teams", "users"):
        assert query(database, f"SELECT count(*) FROM {stream}") == [(vendor.list_rows,)]


def test_dlt_example_merges_what_has_changed(vendor, config, path, tmp_path):
    database = tmp_path / "kustomer.duckdb"
    environment = os.environ | {
        "PATH": path,
        "DLT_DATA_DIR": str(tmp_path / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    command = [sys.executable, ROOT / "examples/dlt_kustomer.py", config, database]
    count = "SELECT count(*), count(DISTINCT id) FROM source_kustomer"

    run(*command, "notes", "tags", cwd=tmp_path, env=environment)
    ((notes, _),) = query(database, f"{count}.notes")
    assert query(database, f"{count}.tags") == [(vendor.list_rows, vendor.list_rows)]

    at = ago(121).isoformat()
    (touched, inserted) = (
        vendor.control("touch", context="note", count=1, at=at)[0],
        vendor.control("insert", context="note", at=at)[0],
    )
    run(*command, "notes", cwd=tmp_path, env=environment)
    assert query(database, f"{count}.notes") == [(notes + 1, notes + 1)]
    loads = (
        "SELECT id FROM source_kustomer.notes WHERE _dlt_load_id = (SELECT max(_dlt_load_id) FROM "
    )
    changed = query(database, f"{loads}source_kustomer.notes)")
    assert {row for (row,) in changed} == {touched["id"], inserted["id"]}


@pytest.fixture
def dagster_example(vendor, path, tmp_path, monkeypatch):
    """The Dagster example, loaded with three windows that reach from the start to now."""
    configs = tmp_path / "configs"
    (configs / "windows").mkdir(parents=True)
    key = vendor.config("kustomer")
    (configs / "kustomer.json").write_text(json.dumps(key))
    ends = [datetime(2015, 1, 1, tzinfo=UTC), ago(600 * 86400), ago(200 * 86400), ago(180)]
    dates = [f"{end:%Y-%m-%dT%H:%M:%SZ}" for end in ends]
    for number in range(3):
        window = {"start_date": dates[number], "end_date": dates[number + 1]}
        (configs / "windows" / f"{number + 1}.json").write_text(json.dumps(key | window))
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("CONFIGS", str(configs))
    monkeypatch.setenv("ROWS", str(tmp_path / "rows"))
    monkeypatch.setenv("STREAMS", "customers,messages")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "dagster_windows", raising=False)
    import dagster_windows  # noqa: PLC0415 (it reads its settings when it is imported)

    return dagster_windows


def test_dagster_example_reads_each_window_once_and_continues_after_them(
    dagster_example, vendor, tmp_path
):
    import dagster as dg  # noqa: PLC0415 (slow to import)

    rows = tmp_path / "rows"

    def materialize(name, **options):
        with dg.DagsterInstance.ephemeral() as instance:
            return dg.materialize(
                dagster_example.defs.assets,
                selection=[name],
                instance=instance,
                raise_on_error=False,
                **options,
            )

    def ids(stream, pattern):
        return [
            json.loads(line)["id"]
            for file in sorted((rows / stream).glob(pattern))
            for line in file.read_text().splitlines()
        ]

    stream = "customers"
    for window in ("3", "1", "2"):
        assert materialize(f"{stream}_windows", partition_key=window).success
    found = ids(stream, "window-*.jsonl")
    assert len(found) == len(set(found))
    assert all(ids(stream, f"window-{number}.jsonl") for number in (1, 2, 3))

    (inserted,) = vendor.control("insert", context="customer", at=ago(121).isoformat())
    assert materialize(stream).success
    since = ids(stream, "since-*.jsonl")
    assert inserted["id"] in since
    asked = {"queryContext": "customer"}
    url = "/v1/customers/{}search?pageSize=1"
    total = sum(vendor.ask(url.format(part), asked)["meta"]["total"] for part in ("", "archive/"))
    assert len({*found, *since}) == total

    # The next read continues from the state of this one. Only its last moments may come again.
    assert materialize(stream).success
    assert set(ids(stream, "since-*.jsonl")[len(since) :]) <= {inserted["id"]}


def test_dagster_example_fails_a_task_with_the_sentence_of_the_source(
    dagster_example, vendor, tmp_path
):
    import dagster as dg  # noqa: PLC0415 (slow to import)

    vendor.control("switches", kustomer={"search_refusal": 403})
    try:
        with pytest.raises(dg.Failure, match="refused the API key"):
            dagster_example.read(
                "messages",
                tmp_path / "configs/windows/1.json",
                tmp_path / "rows/messages/window-1.jsonl",
            )
    finally:
        vendor.control("switches", kustomer={"search_refusal": 0})
    assert list((tmp_path / "rows/messages").iterdir()) == []
