"""The wheels and sdists: what is in them, and the same version everywhere."""

import email
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from distributions.__main__ import main as build

# `make unit` leaves these out. The builds are shared, so one process runs all of these.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("builds")]

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUP = PYPROJECT["tool"]["setuptools"]
CODE = PYPROJECT["project"]["name"]
VERSION = PYPROJECT["project"]["version"]
SOURCES = ("courier", "kustomer")
NAMES = (CODE, *(f"airbyte-source-{source}" for source in SOURCES))


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that a release has, built offline."""
    folder = tmp_path_factory.mktemp("dist")
    build([str(folder)])
    return folder


def wheel(dist: Path, name: str) -> Path:
    return dist / f"{name.replace('-', '_')}-{VERSION}-py3-none-any.whl"


def sdist(dist: Path, name: str) -> Path:
    return dist / f"{name.replace('-', '_')}-{VERSION}.tar.gz"


def files(path: Path) -> set[str]:
    """The files in a wheel, without those that describe it."""
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def read_wheel(path: Path, name: str) -> str:
    """One of the files that describe a wheel."""
    with zipfile.ZipFile(path) as archive:
        (found,) = (one for one in archive.namelist() if one.endswith(f".dist-info/{name}"))
        return archive.read(found).decode()


def test_a_release_has_a_wheel_and_an_sdist_of_each_name_and_nothing_else(dist):
    wanted = {build(dist, name) for build in (wheel, sdist) for name in NAMES}
    assert set(dist.iterdir()) == wanted


def test_wheel_of_the_code_holds_its_packages_and_modules_and_nothing_else(dist):
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in SETUP["packages"]
        for pattern in ("**/*.py", "py.typed", "schemas/**/*.json")
        for path in (ROOT / package).glob(pattern)
    }
    wanted |= {f"{name}.py" for name in SETUP["py-modules"]}
    assert files(wheel(dist, CODE)) == wanted
    for package in SETUP["packages"]:
        assert f"{package}/py.typed" in wanted
    for source in SOURCES:
        assert any(name.startswith(f"source_{source}/schemas/") for name in wanted)


def test_sdist_of_the_code_has_no_tests_and_no_files_of_this_folder(dist):
    with tarfile.open(sdist(dist, CODE)) as archive:
        tops = {Path(name).parts[1] for name in archive.getnames() if len(Path(name).parts) > 1}
    wanted = {*SETUP["packages"], *(f"{name}.py" for name in SETUP["py-modules"])}
    wanted |= {"LICENSE", "README.md", "pyproject.toml", "PKG-INFO", "setup.cfg"}
    assert {name for name in tops if not name.endswith(".egg-info")} == wanted


@pytest.mark.parametrize("source", SOURCES)
def test_wheel_of_a_source_is_its_command_and_needs_the_code_in_the_same_version(dist, source):
    path = wheel(dist, f"airbyte-source-{source}")
    assert files(path) == set()
    said = email.message_from_string(read_wheel(path, "METADATA"))
    assert said["Version"] == VERSION
    assert said.get_all("Requires-Dist") == [f"{CODE}=={VERSION}"]
    code = email.message_from_string(read_wheel(wheel(dist, CODE), "METADATA"))
    for same in ("Requires-Python", "License-Expression", "Classifier"):
        assert said.get_all(same) == code.get_all(same)
    command = PYPROJECT["project"]["scripts"][f"source-{source}"]
    assert f"source-{source} = {command}" in read_wheel(path, "entry_points.txt").splitlines()


def test_one_version_everywhere():
    assert f'io.airbyte.version="{VERSION}"' in (ROOT / "Dockerfile").read_text()
    for source in SOURCES:
        metadata = yaml.safe_load((ROOT / f"source_{source}" / "metadata.yaml").read_text())
        assert metadata["data"]["dockerImageTag"] == VERSION


@pytest.mark.parametrize("lock", ["run", "test", "client", "bench"])
def test_locks_satisfy_what_the_project_asks_for(lock):
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))
    asked = list(PYPROJECT["dependency-groups"].get(lock, []))
    if lock != "bench":
        asked += PYPROJECT["build-system"]["requires"]
    if lock in ("run", "test"):
        asked += PYPROJECT["project"]["dependencies"]
    for requirement in map(Requirement, asked):
        assert requirement.specifier.contains(locked[requirement.name]), requirement
