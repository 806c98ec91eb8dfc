"""rows.py: the conversion of one JSON:API resource."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_kustomer.rows import flatten, snake_case


def resource(attributes=None, relationships=None, **more):
    made = {"type": "customer", "id": "5a", "attributes": attributes or {}}
    if relationships is not None:
        made["relationships"] = relationships
    return made | more


def columns(attributes=None, relationships=None, **more):
    """Return a row without the columns that every row has."""
    row = flatten(resource(attributes, relationships, **more))
    assert (row.pop("type"), row.pop("id")) == ("customer", "5a")
    return row


def test_a_row_is_flat_and_whole_when_the_resource_is_a_usual_one():
    assert flatten(
        {
            "type": "customer",
            "id": "5a82195e",
            "attributes": {
                "firstName": "Amara",
                "emails": [{"email": "amara@example.com", "externalVerified": False}],
                "conversationCounts": {"allDone": 3, "open": 0},
                "recentLocation": None,
                "custom": {"lifetimeValueNum": 12.55, "2faEnabledBool": True},
                "sla": {"name": "Standard", "summary": {"firstBreachAt": "2026-01-01"}},
                "updatedAt": "2026-01-01T00:00:00.123Z",
            },
            "relationships": {
                "org": {"links": {"self": "/v1/orgs/1"}, "data": {"type": "org", "id": "1"}},
                "sla": {"data": {"type": "sla", "id": "2"}},
                "slaVersion": {"data": {"type": "sla_version", "id": "3"}},
                "messages": {"links": {"self": "/v1/customers/5a82195e/messages"}},
                "modifiedBy": None,
            },
            "links": {"self": "/v1/customers/5a82195e"},
        }
    ) == {
        "type": "customer",
        "id": "5a82195e",
        "first_name": "Amara",
        "emails": [{"email": "amara@example.com", "external_verified": False}],
        "conversation_counts": {"all_done": 3, "open": 0},
        "recent_location": None,
        "custom": {"lifetime_value_num": 12.55, "2fa_enabled_bool": True},
        "sla": {"name": "Standard", "summary": {"first_breach_at": "2026-01-01"}},
        "updated_at": "2026-01-01T00:00:00.123Z",
        "org": {"type": "org", "id": "1"},
        "sla_data": {"type": "sla", "id": "2"},
        "sla_version": {"type": "sla_version", "id": "3"},
        "links": {"self": "/v1/customers/5a82195e"},
    }


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("id", "id"),
        ("firstName", "first_name"),
        ("updatedAt", "updated_at"),
        ("externalIDs", "external_i_ds"),
        ("isHTMLBody", "is_html_body"),
        ("orderTotalNum", "order_total_num"),
        ("2faEnabledBool", "2fa_enabled_bool"),
        ("line2Text", "line2_text"),
        ("already_snake", "already_snake"),
        ("shopify-order", "shopify-order"),
        ("With Space", "with _space"),
        ("Größe", "größe"),
        ("", ""),
    ],
)
def test_names_are_spelled_as_the_retired_connector_did_when_they_are_columns(name, column):
    assert snake_case(name) == column


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"a": {"bC": {"dE": [{"fG": 1}]}}}, {"a": {"b_c": {"d_e": [{"f_g": 1}]}}}),
        ({"tags": []}, {"tags": []}),
        ({"tags": ["aB", None, 3]}, {"tags": ["aB", None, 3]}),
        ({"rows": [[{"aB": 1}], []]}, {"rows": [[{"a_b": 1}], []]}),
        ({"n": 0.1}, {"n": 0.1}),
        ({"n": 12.0}, {"n": 12.0}),
        ({"n": 9007199254740993}, {"n": 9007199254740993}),
        ({"n": None, "t": "", "f": False}, {"n": None, "t": "", "f": False}),
        ({"custom": {}}, {"custom": {}}),
        ({"custom": None}, {"custom": None}),
        ({"custom": {"firstName": 1, "first_name": 2}},
         {"custom": {"firstName": 1, "first_name": 2}}),
        ({"custom": {"aB": 1, "a_b": 2, "aC": 3}}, {"custom": {"aB": 1, "a_b": 2, "a_c": 3}}),
        ({"custom": {"AB": 1, "ab": 2, "Ab": 3}}, {"custom": {"AB": 1, "ab": 2, "Ab": 3}}),
        ({"fooBar": 1, "foo_bar": {"xY": 2}}, {"fooBar": 1, "foo_bar": {"x_y": 2}}),
    ],
)  # fmt: skip
def test_attributes_keep_their_values_when_they_are_renamed(attributes, expected):
    row = columns(attributes)
    assert row == expected
    assert list(map(type, row.values())) == list(map(type, expected.values()))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, {}),
        ({}, {}),
        ({"links": {"self": "/v1/x"}}, {}),
        ({"meta": {"kobject": "5b"}}, {"made_by": {"meta": {"kobject": "5b"}}}),
        ({"data": None, "meta": {"aB": 1}}, {"made_by": {"meta": {"a_b": 1}}}),
        ({"data": {"type": "user", "id": "1"}, "meta": {"aB": 1}, "links": {}},
         {"made_by": {"type": "user", "id": "1"}, "relationship_made_by": {"meta": {"a_b": 1}}}),
        (7, {"made_by": 7}),
        ({"data": None}, {"made_by": None}),
        ({"data": {"type": "user", "id": "1"}}, {"made_by": {"type": "user", "id": "1"}}),
        ({"data": {"type": "user", "userId": "1"}}, {"made_by": {"type": "user", "user_id": "1"}}),
        ({"data": []}, {"made_by": []}),
        ({"data": [{"type": "user", "id": "1"}]}, {"made_by": [{"type": "user", "id": "1"}]}),
        ([], {"made_by": []}),
        ([{"type": "user", "id": "1"}], {"made_by": [{"type": "user", "id": "1"}]}),
        ({"link": {"self": "/v1/klasses/return"}, "data": {"type": "klass", "id": "return"}},
         {"made_by": {"type": "klass", "id": "return"}}),
        ("made-up", {"made_by": "made-up"}),
    ],
)  # fmt: skip
def test_data_of_a_relationship_is_lifted_when_there_is_some(value, expected):
    assert columns(relationships={"madeBy": value}) == expected


@pytest.mark.parametrize("relationships", [None, {}])
def test_a_row_is_made_when_there_are_no_relationships(relationships):
    assert columns({"name": "a"}, relationships) == {"name": "a"}


def test_a_row_is_made_when_relationships_are_null():
    assert flatten(resource() | {"relationships": None}) == {"type": "customer", "id": "5a"}


def test_both_are_kept_when_an_attribute_and_a_relationship_share_a_name():
    row = columns({"company": "Fuchs"}, {"company": {"data": {"type": "company", "id": "1"}}})
    assert row == {"attribute_company": "Fuchs", "company": {"type": "company", "id": "1"}}


def test_sla_data_is_the_relationship_when_the_attribute_is_absent():
    assert columns({}, {"sla": {"data": {"type": "sla", "id": "2"}}}) == {
        "sla_data": {"type": "sla", "id": "2"}
    }


@pytest.mark.parametrize("name", ["type", "id", "links"])
def test_key_and_attribute_are_kept_when_an_attribute_is_named_like_a_key_of_the_resource(name):
    row = flatten(resource({name: "mine"}, links={"self": "/v1/customers/5a"}))
    assert row["id"] == "5a"
    assert row["type"] == "customer"
    assert row["links"] == {"self": "/v1/customers/5a"}
    assert row[f"attribute_{name}"] == "mine"


def test_the_resource_is_left_as_it_was_when_flattened():
    made = resource({"aB": {"cD": [1]}}, {"xY": {"data": {"zZ": 1}}})
    flatten(made)
    assert made == resource({"aB": {"cD": [1]}}, {"xY": {"data": {"zZ": 1}}})


# Names that are similar to each other, and values that all differ.
names = st.sampled_from(
    ["id", "type", "links", "attributeType", "attribute_type", "attribute_id", "company",
     "companyData", "company_data", "Company", "sla", "slaData", "sla_data", "SLA", "aB", "a_b",
     "AB", "ab", "custom"]
)  # fmt: skip
numbers = st.integers(0, 10**9)
values = st.recursive(
    numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
relations = st.dictionaries(names, st.none() | st.fixed_dictionaries({"data": st.none()}))


def figures(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return sorted(figure for item in value for figure in figures(item))
    return [value] if isinstance(value, int) else []


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(names, values, max_size=8), relations)
def test_no_value_of_the_attributes_is_lost_when_names_come_close(attributes, relationships):
    row = flatten(resource(attributes, relationships, links={"self": "/v1/customers/5a"}))
    assert figures(row) == figures(attributes)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("kobject.shopify-order", "shopify-order"), ("kobject.a.b", "a.b"), ("kobject", None)],
)
def test_a_custom_object_tells_its_klass_by_name(org, sync, kind, name):
    vendor = org()
    vendor.insert("kobject", at=datetime(2026, 1, 1, tzinfo=UTC), resource={"type": kind})
    (row,) = sync(vendor, "kobjects").rows("kobjects")
    assert row.get("klass_name") == name
    assert row["type"] == kind


def test_an_attribute_that_is_called_like_the_klass_column_is_kept(org, sync):
    vendor = org()
    odd = {"attributes": {"klassName": "mine"}}
    vendor.insert("kobject", at=datetime(2026, 1, 1, tzinfo=UTC), resource=odd)
    (row,) = sync(vendor, "kobjects").rows("kobjects")
    assert row["klass_name"] != "mine"
    assert row["additional_attributes"]["attribute_klass_name"] == "mine"
