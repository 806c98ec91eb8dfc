"""Checks `metadata.yaml` and `icon.svg`, which describe a source to Airbyte's registry.

Airbyte's schema of the file is in a package that needs much else. So `make qa` checks against the
schema, in an environment of its own. The tests here check what the schema cannot: that the file
agrees with the rest of the repository.
"""

import re
import tomllib
import xml.etree.ElementTree as ET
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from source_courier import SourceCourier
from source_kustomer import SourceKustomer

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CLASSES = {"courier": SourceCourier, "kustomer": SourceKustomer}
# The platform counts only records and states, and waits this long at least. A smaller value is
# raised to it (airbytehq/airbyte, pull request 83777, 2026-08).
HEARTBEAT_SECONDS = 5400
every_source = pytest.mark.parametrize("source", CLASSES)


@pytest.fixture
def metadata(source):
    return yaml.safe_load((ROOT / f"source_{source}" / "metadata.yaml").read_text())["data"]


@pytest.fixture
def breaking_change(metadata):
    """What the file says of the version of this project."""
    return metadata["releases"]["breakingChanges"][PROJECT["version"]]


def page_of(address):
    """Return the page of this repository that Airbyte's site shows at an address."""
    parts = urlsplit(address)
    assert parts.hostname == "docs.airbyte.com"
    return ROOT / "docs" / f"{parts.path.removeprefix('/integrations/')}.md"


@every_source
def test_every_field_that_the_schema_requires_is_there(metadata):
    required = ("name", "definitionId", "connectorType", "connectorSubtype", "dockerRepository",
                "dockerImageTag", "license", "documentationUrl", "githubIssueLabel",
                "releaseStage")  # fmt: skip
    assert [name for name in required if not metadata.get(name)] == []


@every_source
def test_it_agrees_with_the_project(source, metadata):
    assert metadata["license"] == PROJECT["license"]
    assert metadata["dockerRepository"] == f"airbyte/source-{source}"
    assert metadata["githubIssueLabel"] == f"source-{source}"
    assert metadata["remoteRegistries"]["pypi"]["packageName"] == f"airbyte-source-{source}"
    assert {"language:python", "cdk:python"} <= set(metadata["tags"])


@every_source
def test_the_base_image_is_the_one_of_the_dockerfile_with_its_digest(metadata):
    dockerfile = (ROOT / "Dockerfile").read_text()
    (default,) = re.findall(r"^ARG BASE_IMAGE=(\S+)$", dockerfile, re.MULTILINE)
    assert metadata["connectorBuildOptions"]["baseImage"] == default
    assert re.search(r":[\d.]+@sha256:[0-9a-f]{64}$", default)


@every_source
def test_suggested_streams_exist(source, metadata):
    offered = {stream.name for stream in CLASSES[source].stream_classes}
    assert set(metadata["suggestedStreams"]["streams"]) <= offered


@every_source
def test_its_pages_exist(source, metadata, breaking_change):
    assert page_of(metadata["documentationUrl"]) == ROOT / f"docs/sources/{source}.md"
    guides = {metadata["releases"]["migrationDocumentationUrl"],
              breaking_change["migrationDocumentationUrl"]}  # fmt: skip
    assert {page_of(guide) for guide in guides} == {ROOT / f"docs/sources/{source}-migrations.md"}
    assert page_of(metadata["documentationUrl"]).is_file()
    assert all(page_of(guide).is_file() for guide in guides)


@every_source
def test_the_migration_guide_has_a_heading_for_every_breaking_change(source, metadata):
    guide = (ROOT / f"docs/sources/{source}-migrations.md").read_text()
    assert guide.startswith(f"# {metadata['name']} Migration Guide\n")
    versions = re.findall(r"^## Upgrading to (\S+)$", guide, re.MULTILINE)
    assert set(metadata["releases"]["breakingChanges"]) <= set(versions)
    assert versions == sorted(versions, reverse=True)


@every_source
def test_a_breaking_change_says_what_happens_when(breaking_change):
    assert breaking_change["deadlineAction"] in {"auto_upgrade", "disable"}
    assert date.fromisoformat(breaking_change["upgradeDeadline"])
    assert breaking_change["message"].strip()


@every_source
def test_the_platform_waits_longer_than_a_request_may_take(metadata):
    assert metadata["maxSecondsBetweenMessages"] >= HEARTBEAT_SECONDS


@every_source
def test_links_to_the_vendor_say_what_they_are(source, metadata):
    links = metadata["externalDocumentationUrls"]
    assert all(link["title"] and link["type"] for link in links)
    assert all(f"{source}.com" in urlsplit(link["url"]).netloc for link in links)


@every_source
def test_allowed_hosts_cover_every_region(source, metadata):
    made = CLASSES[source].config_class
    needed = {"api_key": "made-up", "api_token": "made-up", "start_date": "2024-01-01"}
    regions = made.connection_specification()["properties"]["region"]["enum"]
    hosts = {made.from_mapping(needed | {"region": one}).host for one in regions}
    assert {urlsplit(host).hostname for host in hosts} <= set(metadata["allowedHosts"]["hosts"])


@every_source
def test_the_icon_is_a_square(source):
    icon = ET.parse(ROOT / f"source_{source}" / "icon.svg").getroot()
    assert icon.tag == "{http://www.w3.org/2000/svg}svg"
    assert icon.get("width") == icon.get("height")
    left, top, width, height = map(float, icon.get("viewBox").split())
    assert (left, top) == (0, 0)
    assert width == height
