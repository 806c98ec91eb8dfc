"""Attachments: an id for each, and no link by which anybody may take the file."""


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
            for row in body["data"]:
                row["id"] = "5a"
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
