"""The wheels and sdists, installed in an empty environment, and all verbs from there."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from distributions.__main__ import ROOT, SOURCES
from distributions.__main__ import main as build
from fake_vendor import Courier, FakeVendor, Kustomer

# The builds and the environments are shared, so one process runs all of these.
pytestmark = [pytest.mark.xdist_group("builds"), pytest.mark.packages]

ROWS = 30
CONFIGS = {
    "courier": {"api_key": "courier-demo-key"},
    "kustomer": {"api_token": "kustomer-demo-token", "start_date": "2015-01-01"},
}


def run(*command: str | Path, **options) -> str:
    """Run a program without what the environment says to Python."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, env=clean, capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    build([str(folder)])
    return folder


@pytest.fixture(scope="module", params=["whl", "tar.gz"])
def environment(request, dist, tmp_path_factory):
    """An environment with the packages that the sources need, and our distributions.

    No network: a path file lends it the packages of the environment that runs the tests. Python
    does not follow path files in a folder that a path file names. So our editable installation is
    not found through it.
    """
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    scheme = {"base": str(place), "platbase": str(place)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=scheme))
    (site / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    # Dependencies are named one by one: `--no-deps`, because pip would take the editable one.
    built = sorted(dist.glob(f"*.{request.param}"))
    assert len(built) == len(SOURCES) + 1
    options = ("-qq", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed")
    pip = (sys.executable, "-m", "pip", "--python", place / "bin/python")
    run(*pip, "install", *options, *built)
    return place


@pytest.fixture(scope="module")
def listening():
    with FakeVendor(Kustomer(ROWS, list_rows=4, child_rows=4), Courier(ROWS)) as vendor:
        yield vendor


@pytest.fixture
def command(environment, listening, tmp_path):
    """Run the installed command of a source in an empty folder."""

    def command(source, verb, *rest, **documents):
        arguments = [verb, *rest]
        if verb != "spec":
            documents["config"] = CONFIGS[source] | {"api_url": listening.url}
        for name, document in documents.items():
            path = tmp_path / f"{name}.json"
            path.write_text(json.dumps(document))
            arguments += [f"--{name}", path]
        return run(environment / f"bin/source-{source}", *arguments, cwd=tmp_path)

    return command


def messages(output: str, kind: str) -> list[dict]:
    return [m for m in map(json.loads, output.splitlines()) if m["type"] == kind]


def test_code_is_that_of_the_environment(environment, tmp_path):
    program = "import http_source, main_kustomer as m; print(http_source.__file__, m.__file__)"
    for file in run(environment / "bin/python", "-c", program, cwd=tmp_path).split():
        assert Path(file).is_relative_to(environment)
        assert not Path(file).is_relative_to(ROOT)


def test_version_is_found_under_the_name_that_pyairbyte_looks_up(environment, tmp_path):
    """PyAirbyte shows the version of the distribution `airbyte-<name of the source>`."""
    program = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
    python = environment / "bin/python"
    found = {
        run(python, "-c", program, name, cwd=tmp_path)
        for name in (
            "airbyte-source-courier",
            "airbyte-source-kustomer",
            "airbyte-sources-courier-kustomer",
        )
    }
    assert len(found) == 1


@pytest.mark.parametrize("source", SOURCES)
def test_all_verbs_of_airbyte(command, source):
    (spec,) = messages(command(source, "spec"), "SPEC")
    assert spec["spec"]["connectionSpecification"]["properties"]
    (status,) = messages(command(source, "check"), "CONNECTION_STATUS")
    assert status["connectionStatus"]["status"] == "SUCCEEDED"
    (found,) = messages(command(source, "discover"), "CATALOG")
    streams = found["catalog"]["streams"]
    assert all(stream["json_schema"]["properties"] for stream in streams)
    modes = {"sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
    chosen = [{"stream": stream, **modes} for stream in streams if stream["name"] == "messages"]
    records = messages(command(source, "read", catalog={"streams": chosen}), "RECORD")
    assert len({record["record"]["data"]["id"] for record in records}) == ROWS


@pytest.mark.parametrize("environment", ["whl"], indirect=True)
def test_verbs_for_people(command):
    assert "Window 1: about" in command("kustomer", "windows", "--windows", "2")
    for source in SOURCES:
        assert "holds" in command(source, "doctor")
