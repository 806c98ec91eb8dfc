"""What the image leaves out is never loaded, and its parts fit together. No engine is needed.

`make image try` builds the images and runs the demo in them.
"""

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name

from fake_vendor import Courier, FakeVendor, Kustomer

pytestmark = pytest.mark.packages

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SOURCES = ("courier", "kustomer")
LEFT_OUT = {
    line
    for line in (ROOT / "requirements/not-in-image.txt").read_text().splitlines()
    if line and not line.startswith("#")
}
LOCKED = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE))
# Runs a source where none of these modules can be found.
WITHOUT = """\
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

for name in list(sys.modules):
    if name.partition(".")[0] in {absent!r}:
        del sys.modules[name]
sys.meta_path.insert(0, Absent())
from main_{source} import main
main()
"""


def modules_left_out():
    """The modules that only packages outside of the image bring."""
    return {
        module
        for module, packages in packages_distributions().items()
        if {canonicalize_name(package) for package in packages} <= LEFT_OUT
    }


@pytest.fixture(scope="module")
def small():
    """A vendor with rows in every stream."""
    with FakeVendor(
        Kustomer(rows=30, list_rows=5, child_rows=5, event_rows=20), Courier(rows=20)
    ) as listening:
        yield listening


@pytest.fixture(params=SOURCES)
def run(request, small, tmp_path):
    """Run a command without the packages that the image leaves out."""
    source = request.param
    keys = {
        "courier": {"api_key": small.courier.key},
        "kustomer": {"api_token": small.kustomer.token, "start_date": "2015-01-01"},
    }
    config = tmp_path / "config.json"
    config.write_text(json.dumps(keys[source] | {"api_url": small.url}))
    program = WITHOUT.format(absent=modules_left_out(), source=source)

    def run(command, *more):
        arguments = [] if command == "spec" else ["--config", config, *more]
        done = subprocess.run(
            [sys.executable, "-c", program, command, *arguments],
            cwd=ROOT,
            capture_output=True,
            check=False,
            timeout=90,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def test_every_command_works_without_the_packages_that_are_left_out(run, tmp_path):
    assert {"SPEC"} <= {message["type"] for message in run("spec")}
    (status,) = (m for m in run("check") if m["type"] == "CONNECTION_STATUS")
    assert status["connectionStatus"]["status"] == "SUCCEEDED"
    (found,) = (m["catalog"] for m in run("discover") if m["type"] == "CATALOG")
    catalog = tmp_path / "catalog.json"
    modes = {"sync_mode": "full_refresh", "destination_sync_mode": "append"}
    catalog.write_text(
        json.dumps({"streams": [{"stream": stream, **modes} for stream in found["streams"]]})
    )
    messages = run("read", "--catalog", catalog)
    ended = [
        said["stream_descriptor"]["name"]
        for message in messages
        if (said := message.get("trace", {}).get("stream_status", {})).get("status") == "COMPLETE"
    ]
    assert sorted(ended) == sorted(stream["name"] for stream in found["streams"])


def test_what_is_left_out_is_locked_and_nothing_else():
    assert LEFT_OUT <= LOCKED
    assert {"pandas", "numpy", "grpc", "nltk", "google"} <= modules_left_out()
    assert not {"rich", "airbyte_cdk", "requests"} & modules_left_out()


@pytest.mark.parametrize("source", SOURCES)
def test_the_base_image_is_the_one_that_the_registry_is_told(source):
    metadata = yaml.safe_load((ROOT / f"source_{source}" / "metadata.yaml").read_text())
    base = metadata["data"]["connectorBuildOptions"]["baseImage"]
    assert re.search(r"@sha256:[0-9a-f]{64}$", base)
    assert f"ARG BASE_IMAGE={base}\n" in DOCKERFILE


def test_everything_that_the_build_copies_is_in_its_context():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (requirements/\S+)", DOCKERFILE, re.MULTILINE)
    assert len(copied) == 2
    assert {f"!{path}" for path in copied} <= set(ignored)
