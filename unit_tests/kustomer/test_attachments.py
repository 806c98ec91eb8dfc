"""Attachments: each gets an id, and no link that gives access to the file is emitted."""

import re

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

from fake_vendor import Fault


def test_no_signed_link_is_emitted_and_every_file_has_its_id(org, sync):
    vendor = org({"conversation": 8}, child_rows={"attachment": 20})
    synced = sync(vendor, "attachments", start_date="2015-01-01")
    rows = synced.rows("attachments")
    assert sorted(row["id"] for row in rows) == sorted(
        one.id for one in vendor.records("attachment")
    )
    for row in rows:
        assert row["links"] == {"self": row["links"]["self"]}
        assert row["links"]["self"].endswith(row["id"])
        assert row["name"].endswith(".jpg")
        assert row["message"]["type"] == "message"
    assert "made-up-signature" not in synced.everything_said
    assert "files.example.com" not in synced.everything_said


def test_links_of_any_shape_are_kept_out(org, sync):
    shapes = iter(["https://files.example.com/x", ["https://files.example.com/x"], None, {}, 7])

    def edit(body, request, number):
        if "/attachments" in request.path:
            for number_of_row, row in enumerate(body["data"]):
                row["id"] = f"5a{number_of_row}"
                row["links"] = next(shapes, None)

    vendor = org({"conversation": 1}, child_rows={"attachment": 5}, edit=edit)
    synced = sync(vendor, "attachments", start_date="2015-01-01")
    assert synced.output.errors == []
    assert "files.example.com" not in synced.everything_said


def test_a_signature_in_the_path_of_a_file_is_cut_off(org, sync):
    def edit(body, request, number):
        for row in body["data"] if "/attachments" in request.path else ():
            row["links"]["self"] += "?X-Amz-Signature=made-up-signature"

    vendor = org({"conversation": 1}, child_rows={"attachment": 5}, edit=edit)
    synced = sync(vendor, "attachments", start_date="2015-01-01")
    assert len(synced.ids("attachments")) == 5
    assert "made-up-signature" not in synced.everything_said


def attachments(org, sync, change, conversations=1, rows=5):
    """A sync of attachments whose rows, and lists of rows, were changed on the way."""

    def edit(body, request, number):
        if "/attachments" in request.path:
            change(body["data"])

    vendor = org({"conversation": conversations}, child_rows={"attachment": rows}, edit=edit)
    return sync(vendor, "attachments", start_date="2015-01-01")


@pytest.mark.parametrize("name", ["X-Amz-Signature", "X-Goog-Signature", "sig", "anything"])
def test_a_signed_link_anywhere_in_a_row_is_cut_off(org, sync, name):
    signed = f"https://files.example.com/x.jpg?X-Amz-Date=1&{name}=made-up-signature&a=b"

    def change(rows):
        for row in rows:
            row["attributes"]["thumbnails"] = [{"url": signed}]
            row["attributes"]["text"] = f"see {signed} for more"
            row["meta"] = {"at": signed}

    synced = attachments(org, sync, change)
    assert len(synced.ids("attachments")) == 5
    rest = synced.rows("attachments")[0]["additional_attributes"]
    assert rest["text"] == "see https://files.example.com/x.jpg for more"
    assert rest["thumbnails"] == [{"url": "https://files.example.com/x.jpg"}]
    assert "made-up-signature" not in synced.everything_said


@pytest.mark.parametrize(
    "link",
    [
        "/v1/conversations/5a/attachments",
        "http://[not-a-host/attachments/5b",
        "/v1/messages/5a/files/5b",
        "/v1/messages/5a/attachments/",
        "/v1/messages/5a/attachments/5b",
    ],
)
def test_rows_that_no_link_tells_apart_fail_the_stream(org, sync, link):
    def change(rows):
        for row in rows:
            row["links"]["self"] = link

    synced = attachments(org, sync, change)
    assert synced.rows("attachments") == []
    assert synced.failures == {FailureType.system_error}


@pytest.mark.parametrize("status", [404, 410])
def test_lists_that_are_gone_although_their_conversations_are_not_fail_the_stream(
    org, sync, requests_mock, status
):
    vendor = org({"conversation": 30}, child_rows={"attachment": 60})
    gone = re.compile(r".*/v1/conversations/.*/attachments")
    requests_mock.get(gone, status_code=status, json={"errors": []})
    synced = sync(vendor, "attachments", start_date="2015-01-01")
    assert synced.status("attachments") is AirbyteStreamStatus.INCOMPLETE
    assert "exists. Expected the list" in synced.failure("attachments")
    assert synced.states("attachments") == []


@pytest.mark.parametrize("status", [400, 409, 422])
def test_another_refusal_of_a_list_is_no_conversation_that_is_gone(
    org, sync, requests_mock, status
):
    vendor = org({"conversation": 3}, child_rows={"attachment": 6})
    refused = re.compile(r".*/v1/conversations/.*/attachments")
    requests_mock.get(refused, status_code=status, json={"errors": []})
    synced = sync(vendor, "attachments", start_date="2015-01-01")
    assert synced.failures == {FailureType.system_error}


def test_a_state_of_the_retired_connector_says_nothing_of_attachments(org, sync):
    vendor = org({"conversation": 40}, child_rows={"attachment": 90})
    for state in (
        {"bookmarks": {"conversations": "2026-05-20T00:00:00Z"}},
        {"updated_at": "2026-05-20T00:00:00Z"},
    ):
        synced = sync(
            vendor, "attachments", "conversations", state_file=state, start_date="2015-01-01"
        )
        assert len(synced.ids("attachments")) == 90
        assert 0 < len(synced.ids("conversations")) < 40


def test_what_fails_for_attachments_is_told_of_attachments(org, sync):
    vendor = org({"conversation": 4}, child_rows={"attachment": 9})
    state = {"attachments": {"updated_at": "not a date"}}
    synced = sync(vendor, "attachments", state=state)
    assert "saved state of stream 'attachments'" in synced.failure("attachments")
    vendor.switch(faults=(Fault("500", at=tuple(range(1, 40))),))
    synced = sync(vendor, "attachments")
    assert "Stream attachments: POST" in synced.failure("attachments")


def test_the_role_is_named_that_tells_a_deleted_conversation_from_a_missing_list(
    org, sync, requests_mock
):
    vendor = org({"conversation": 3}, child_rows={"attachment": 6}, refused=("one_conversation",))
    gone = re.compile(r".*/v1/conversations/.*/attachments")
    requests_mock.get(gone, status_code=404, json={"errors": []})
    synced = sync(vendor, "attachments", start_date="2015-01-01")
    assert synced.failures == {FailureType.config_error}
    assert "org.permission.conversation.read" in synced.failure("attachments")


@pytest.mark.parametrize("status", [400, 403])
def test_a_refusal_that_quotes_a_signed_link_is_told_without_it(org, sync, requests_mock, status):
    vendor = org({"conversation": 3}, child_rows={"attachment": 6})
    text = "Cannot read https://files.example.com/x?sig=made-up-signature now"
    refused = re.compile(r".*/v1/conversations/.*/attachments")
    requests_mock.get(refused, status_code=status, json={"errors": [{"message": text}]})
    synced = sync(vendor, "attachments", start_date="2015-01-01")
    assert "Cannot read https://files.example.com/x now" in synced.failure("attachments")
    assert "made-up-signature" not in synced.everything_said


def test_a_deleted_conversation_without_a_list_has_no_attachments(org, sync, requests_mock):
    vendor = org({"conversation": 4}, child_rows={"attachment": 8})
    gone = vendor.records("conversation")[0].id
    vendor.delete("conversation", gone)
    path = f"https://api.kustomerapp.com/v1/conversations/{gone}/attachments"
    requests_mock.get(path, status_code=404, json={"errors": []})
    synced = sync(vendor, "attachments", start_date="2015-01-01", include_deleted=True)
    assert synced.status("attachments") is AirbyteStreamStatus.COMPLETE
    of_gone = {one.id for one in vendor.children("conversation_attachment", gone)}
    everything = {one.id for one in vendor.records("attachment")}
    assert set(synced.ids("attachments")) >= everything - of_gone


@pytest.mark.parametrize(
    ("status", "kind"), [(409, FailureType.system_error), (503, FailureType.transient_error)]
)
def test_a_conversation_that_gives_no_clear_answer_is_not_taken_for_deleted(
    org, sync, requests_mock, status, kind
):
    vendor = org({"conversation": 2}, child_rows={"attachment": 4})
    requests_mock.get(re.compile(r".*/v1/conversations/.*"), status_code=status, json={})
    requests_mock.get(re.compile(r".*/conversations/.*/attachments"), status_code=404, json={})
    synced = sync(vendor, "attachments", start_date="2015-01-01")
    assert synced.failures == {kind}
