"""The package: the wheel, the commands that it installs, and the same version everywhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

# `make unit` leaves these out.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PYPROJECT["tool"]["setuptools"]["packages"]
SOURCES = ("courier", "kustomer")
CONFIGS = {
    "courier": {"api_key": "none"},
    "kustomer": {"api_token": "none", "start_date": "2024-01-01"},
}


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built offline from a copy. So files of an earlier build cannot get into it."""
    place = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", place / "dist", place)
    (built,) = (place / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-index", "--no-deps", "--no-compile", "--target", target, wheel)
    return target


@pytest.fixture
def run(installed: Path, tmp_path: Path) -> Iterator:
    """Run a program as installed: in an empty directory, with the wheel first in the path."""

    def run(*command: str | Path) -> str:
        environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def messages(output: str, kind: str) -> list[dict]:
    return [m for m in map(json.loads, output.splitlines()) if m["type"] == kind]


def test_wheel_holds_the_three_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for pattern in ("**/*.py", "py.typed", "schemas/**/*.json")
        for path in (ROOT / package).glob(pattern)
    }
    assert names == wanted
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    for source in SOURCES:
        assert any(name.startswith(f"source_{source}/schemas/") for name in names)


def test_installed_packages_are_those_of_the_wheel(run, installed):
    program = "import sys; from importlib.util import find_spec as f; print(f(sys.argv[1]).origin)"
    for package in PACKAGES:
        origin = run(sys.executable, "-c", program, package)
        assert Path(origin).parent == installed / package


@pytest.mark.parametrize("source", SOURCES)
def test_installed_command_answers_spec(run, installed, source):
    output = run(installed / "bin" / f"source-{source}", "spec")
    (spec,) = messages(output, "SPEC")
    assert spec["spec"]["connectionSpecification"]["properties"]


@pytest.mark.parametrize("source", SOURCES)
def test_installed_command_discovers_with_its_own_schemas(run, installed, tmp_path, source):
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIGS[source]))
    output = run(installed / "bin" / f"source-{source}", "discover", "--config", config)
    (catalog,) = messages(output, "CATALOG")
    for stream in catalog["catalog"]["streams"]:
        assert stream["json_schema"]["properties"], stream["name"]


def test_one_version_everywhere():
    version = PYPROJECT["project"]["version"]
    assert f'io.airbyte.version="{version}"' in (ROOT / "Dockerfile").read_text()
    for source in SOURCES:
        metadata = yaml.safe_load((ROOT / f"source_{source}" / "metadata.yaml").read_text())
        assert metadata["data"]["dockerImageTag"] == version


@pytest.mark.parametrize("lock", ["run", "test", "bench"])
def test_locks_satisfy_what_the_project_asks_for(lock):
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))
    asked = PYPROJECT["build-system"]["requires"] + PYPROJECT["project"]["dependencies"]
    if lock == "test":
        asked += PYPROJECT["dependency-groups"]["test"]
    if lock == "bench":
        asked = PYPROJECT["dependency-groups"]["bench"]
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(locked[requirement.name]), requirement
