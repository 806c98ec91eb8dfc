"""Builds the wheels and sdists of a release: `make dist`, or `python -m distributions --help`.

There are three distributions. `airbyte-sources-courier-kustomer` has the code of both sources.
`airbyte-source-courier` and `airbyte-source-kustomer` have no code. They carry the names that
PyAirbyte looks up, install the command of one source, and need the first one in the same version.
Their files are written here from `pyproject.toml`, so nothing in them can differ from it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {"courier": "Courier", "kustomer": "Kustomer"}
# A build backend works in the folder of its project. So each build is a process of its own.
_BUILD = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"

_NAMED_PYPROJECT = """\
[build-system]
requires = {requires}
build-backend = "setuptools.build_meta"

[project]
name = "airbyte-source-{source}"
version = {version}
description = "The Airbyte source for {vendor}."
readme = "README.md"
requires-python = {python}
license = {license}
license-files = ["LICENSE"]
authors = [{{ name = {author} }}]
keywords = ["airbyte", "connector", "elt", "{source}"]
classifiers = {classifiers}
dependencies = ["{code}=={plain_version}"]

[project.scripts]
source-{source} = {script}

[tool.setuptools]
packages = []
"""
_NAMED_README = """\
# airbyte-source-{source}

The Airbyte source for {vendor}: the command `source-{source}`, under the name that PyAirbyte looks
up. The code is in `{code}`, which has the documentation too.
"""


def main(argv: list[str] | None = None) -> None:
    """Build everything into one folder."""
    parser = argparse.ArgumentParser(
        prog="python -m distributions", description="Build the wheels and sdists of a release."
    )
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "dist")
    folder = parser.parse_args(argv).folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    with tempfile.TemporaryDirectory() as name:
        for path in (write_code(project, Path(name)), *write_named(project, Path(name))):
            for built in build(path, folder):
                print(built.name)


def write_code(project: dict[str, Any], place: Path) -> Path:
    """Copy what belongs to the code's distribution, so that no file of an old build gets in."""
    copy = place / "code"
    copy.mkdir()
    setup = project["tool"]["setuptools"]
    modules = [f"{name}.py" for name in setup["py-modules"]]
    for name in ("pyproject.toml", "README.md", "LICENSE", *modules):
        shutil.copy(ROOT / name, copy)
    for name in setup["packages"]:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def write_named(project: dict[str, Any], place: Path) -> list[Path]:
    """Write the distributions that have a source's name."""
    facts = project["project"]
    written = []
    for source, vendor in SOURCES.items():
        path = place / source
        path.mkdir()
        said = {"source": source, "vendor": vendor, "code": facts["name"]}
        # A JSON string, or a list of them, is a TOML value too.
        values = {
            "requires": project["build-system"]["requires"],
            "version": facts["version"],
            "python": facts["requires-python"],
            "license": facts["license"],
            "author": facts["authors"][0]["name"],
            "classifiers": facts["classifiers"],
            "script": facts["scripts"][f"source-{source}"],
        }
        quoted = {name: json.dumps(value) for name, value in values.items()}
        (path / "pyproject.toml").write_text(
            _NAMED_PYPROJECT.format(plain_version=facts["version"], **said, **quoted)
        )
        (path / "README.md").write_text(_NAMED_README.format(**said))
        shutil.copy(ROOT / "LICENSE", path)
        written.append(path)
    return written


def build(path: Path, folder: Path) -> tuple[Path, Path]:
    """Build the sdist, and the wheel from the sdist: this shows that the sdist is complete."""
    sdist = _built("build_sdist", path, folder)
    with tempfile.TemporaryDirectory() as name, tarfile.open(sdist) as archive:
        archive.extractall(name, filter="data")
        (unpacked,) = Path(name).iterdir()
        return sdist, _built("build_wheel", unpacked, folder)


def _built(hook: str, path: Path, folder: Path) -> Path:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        done = subprocess.run(
            [sys.executable, "-c", _BUILD, hook, name],
            cwd=path,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{hook} in {path} failed:\n{done.stdout}{done.stderr}")
        (built,) = Path(name).iterdir()
        return built.replace(folder / built.name)


if __name__ == "__main__":
    main()
