"""What a small body costs that is checked by a schema which refers to itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from fastgate._core.exchange.refusal import Refusal
from fastgate.config import BodySchema
from fastgate.policies.request_body.body_schema import FEW_WAYS, MANY_WAYS, MAX_DEPTH, body_check
from fastgate.policies.request_body.cost import levels_within, most_ways

ROOT = {"$ref": "#"}
LIST = {"type": "array", "items": ROOT}


def alternatives(*names: str) -> dict[str, Any]:
    return {"oneOf": [{"properties": {name: LIST}, "required": [name]} for name in names]}


FILTER = {
    "oneOf": [
        {"type": "object", "properties": {"and": LIST}, "required": ["and"]},
        {"type": "object", "properties": {"or": LIST, "and": LIST}, "required": ["or"]},
        {"type": "string"},
    ]
}


@pytest.mark.parametrize(
    ("schema", "ways"),
    [
        (True, 0),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, 0),
        ({"anyOf": [{"properties": {"a": {"items": {}}}}, {"properties": {"a": {"items": {}}}}]}, 0),
        ({"properties": {"next": ROOT}}, 1),
        (LIST, 1),
        (alternatives("and", "or", "not"), 1),
        (alternatives("and", "and"), 2),
        (FILTER, 2),
        ({"anyOf": [{"properties": {"a": ROOT}}] * 3}, 3),
        ({"properties": {"a": {"anyOf": [ROOT, ROOT]}}}, 2),
        ({"properties": {"a": ROOT}, "patternProperties": {"^a": ROOT}}, 2),
        ({"properties": {"a": ROOT}, "additionalProperties": ROOT}, 1),
        ({"allOf": [{"properties": {"a": ROOT}}], "additionalProperties": ROOT}, 2),
        ({"prefixItems": [ROOT, ROOT], "items": ROOT}, 1),
        ({"items": ROOT, "contains": ROOT}, 2),
        ({"if": {"properties": {"a": ROOT}}, "then": {"properties": {"a": ROOT}}}, 2),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"properties": {"a": ROOT}, "not": {"properties": {"a": ROOT}}}}}, 2),
        ({"$dynamicAnchor": "n", "anyOf": [{"items": {"$dynamicRef": "#n"}}, {"items": {"$dynamicRef": "#n"}}]}, 2),
        ({"anyOf": [{"items": {"$ref": "#/nowhere"}}, {"items": ROOT}]}, 2),
        ({"enum": [{"$ref": "#"}], "items": {"const": {"$ref": "#"}}}, 0),
    ],
)
def test_in_how_many_ways_a_level_can_be_entered(schema: Any, ways: int) -> None:
    assert most_ways(schema) == ways


@pytest.mark.parametrize("ways", range(40))
@pytest.mark.parametrize("work", [FEW_WAYS, MANY_WAYS])
def test_how_many_levels_there_may_be(ways: int, work: int) -> None:
    levels = levels_within(ways, work, MAX_DEPTH)
    assert levels == MAX_DEPTH if ways < 2 else ways**levels <= work < ways ** (levels + 1)


def test_a_schema_of_many_references_is_gone_through_once() -> None:
    names = [f"n{number}" for number in range(3000)]
    defs = {name: {"properties": {"a": {"$ref": f"#/$defs/{names[number - 1]}"}}} for number, name in enumerate(names)}
    assert most_ways({"$ref": "#/$defs/n0", "$defs": defs}) == 1


@pytest.mark.parametrize(
    "schema",
    [
        FILTER,
        alternatives("and", "or"),
        {"properties": {"a": {"anyOf": [ROOT, ROOT]}}},
        {"anyOf": [{"properties": {"a": ROOT, "k": {"const": kind}}, "required": ["k"]} for kind in range(30)]},
        {"anyOf": [{"properties": {"and": LIST, "k": {"const": kind}}, "required": ["k"]} for kind in range(30)]},
    ],
)
def test_no_body_takes_a_check_of_exponential_length(tmp_path: Path, schema: Any) -> None:
    """If one did, this would not end."""
    path = tmp_path / "schema.json"
    path.write_text(json.dumps({**schema, "additionalProperties": False} if "properties" in schema else schema))
    check = body_check(BodySchema(file=str(path)))
    for depth in range(1, 64):
        for body in ('{"and":[' * depth + "5" + "]}" * depth, '{"a":' * depth + '{"b":1}' + "}" * depth):
            with pytest.raises(Refusal):
                check(body.encode())


def test_how_deep_a_body_may_be_is_the_configurations_to_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(FILTER))

    def nested(depth: int) -> bytes:
        return ('{"and":[' * depth + '"x"' + "]}" * depth).encode()

    check = body_check(BodySchema(file=str(path)))
    assert "refers to itself in 2 ways at one place" in caplog.text
    assert "may be nested at most 19 deep" in caplog.text
    check(nested(9))
    with pytest.raises(Refusal) as caught:
        check(nested(10))
    assert caught.value.detail == "The request body is nested deeper than 19."
    caplog.clear()
    check = body_check(BodySchema(file=str(path), max_depth=40))
    assert not caplog.text
    check(nested(20))
    with pytest.raises(Refusal) as caught:
        check(nested(21))
    assert caught.value.detail == "The request body is nested deeper than 40."


@pytest.mark.parametrize(("schema", "levels"), [(alternatives("and", "or"), MAX_DEPTH - 2), (FILTER, 8)])
def test_errors_are_told_where_there_are_few_ways(tmp_path: Path, schema: Any, levels: int) -> None:
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema))
    check = body_check(BodySchema(file=str(path)))
    for depth, told in ((levels, True), (levels + 2, levels > 100)):
        with pytest.raises(Refusal) as caught:
            check(('{"and":[' * (depth // 2) + "5" + "]}" * (depth // 2)).encode())
        assert bool(caught.value.detail) is told
