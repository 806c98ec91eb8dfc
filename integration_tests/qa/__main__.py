"""Runs Airbyte's QA and the CDK's `connector test` on both sources, in the layout they expect.

    make qa

Airbyte's checks know only its own repository, with one folder for each connector and the pages in
docs/integrations/. So the files are copied to `.qa/airbyte/` in that layout. The checks that fail
must be in exceptions.toml, and those that are there must fail.
"""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

from fake_vendor import Courier, FakeVendor, Kustomer

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
QA = ROOT / ".qa"
# The name of the folder is how Airbyte's tools find the root of a repository.
REPOSITORY = QA / "airbyte"
SOURCES = ("courier", "kustomer")
CONFIGS = ("sample_config.json", "invalid_config.json")
EXCEPTIONS = tomllib.loads((HERE / "exceptions.toml").read_text(encoding="utf-8"))


def connector(source: str) -> Path:
    return REPOSITORY / "airbyte-integrations" / "connectors" / f"source-{source}"


def lay_out(source: str) -> None:
    """Copy the files of a source to where Airbyte's repository has them."""
    place, pages = connector(source), REPOSITORY / "docs" / "integrations" / "sources"
    code, samples = ROOT / f"source_{source}", ROOT / "integration_tests" / source
    pages.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__", "metadata.yaml", "icon.svg")
    shutil.copytree(code, place / code.name, ignore=ignored)
    shutil.copytree(ROOT / "http_source", place / "http_source", ignore=ignored)
    for file in (code / "metadata.yaml", code / "icon.svg", ROOT / "pyproject.toml"):
        shutil.copy(file, place)
    for file in (*samples.glob("*.json"), samples / "acceptance-test-config.yml"):
        shutil.copy(file, place)
    for name in (f"{source}.md", f"{source}-migrations.md"):
        shutil.copy(ROOT / "docs" / "sources" / name, pages)
    # The check of prerequisites reads the spec from a file.
    command = [sys.executable, str(ROOT / f"main_{source}.py"), "spec"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    messages = map(json.loads, said.splitlines())
    spec = next(message["spec"] for message in messages if message["type"] == "SPEC")
    (place / code.name / "spec.json").write_text(json.dumps(spec), encoding="utf-8")


def raise_level(source: str) -> None:
    """Let the copy of metadata.yaml claim the highest level, so that no check is skipped for it."""
    path = connector(source) / "metadata.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["data"] |= {"supportLevel": "certified", "ab_internal": {"sl": 300, "ql": 600}}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def airbyte_checks() -> Iterator[str]:
    """Run Airbyte's QA. Yields a sentence for each result that is not as it should be."""
    command = [str(QA / "bin" / "python"), str(HERE / "checks.py"), *SOURCES]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"Airbyte's QA did not run: {done.stderr[-2000:]}"
        return
    failed: set[str] = set()
    for line in map(json.loads, done.stdout.splitlines()):
        name, where = line["check"], f"source-{line['source']}"
        is_bad = line["status"] in ("FAILED", "CRASHED")
        excepted = " (excepted)" if is_bad and name in EXCEPTIONS else ""
        print(f"{line['status'].lower():8} {where:16} {name}{excepted}")
        if is_bad:
            failed.add(name)
        if is_bad and not excepted:
            yield f"{where}: {name}: {line['message']}"
    for name in EXCEPTIONS.keys() - failed:
        yield f"exceptions.toml: {name} does not fail. Remove it."


def standard_tests(source: str, url: str) -> Iterator[str]:
    """Run the CDK's standard tests against the fake vendor. Yields a sentence if one fails."""
    place = connector(source)
    (place / ".tmp").mkdir()
    for name in CONFIGS:
        config = json.loads((place / name).read_text(encoding="utf-8"))
        (place / ".tmp" / name).write_text(json.dumps(config | {"api_url": url}), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "airbyte-cdk"), "connector", "test", str(place)]
    # Without the options of our pyproject.toml: the folder of the tests is no package.
    for argument in ("-qq", "-oaddopts=", "-mnot image_tests"):
        command += ["--pytest-arg", argument]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    report = place / "build" / "test-results" / "standard-tests-junit.xml"
    ran = report.read_text(encoding="utf-8") if report.exists() else ""
    count = ran.count("<testcase ") - ran.count("<skipped ")
    # It has addresses of the fake vendor, which are not https.
    shutil.rmtree(place / ".tmp")
    status = "failed" if done.returncode or not count else "passed"
    print(f"{status:8} source-{source:9} airbyte-cdk connector test, {count} tests")
    if status == "failed":
        said = f"{done.stdout[-3000:]}{done.stderr[-500:]}"
        yield f"source-{source}: airbyte-cdk connector test: {said}"


def main() -> None:
    shutil.rmtree(REPOSITORY, ignore_errors=True)
    wrong: list[str] = []
    for source in SOURCES:
        lay_out(source)
    with FakeVendor(
        Kustomer(rows=300, child_rows=40, event_rows=50, ties=(40,)), Courier(rows=123)
    ) as vendor:
        for source in SOURCES:
            wrong += standard_tests(source, vendor.url)
    for source in SOURCES:
        raise_level(source)
    wrong += airbyte_checks()
    for sentence in wrong:
        print(f"\n{sentence}", file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
