"""The JSON Schema (draft 2020-12) of a configuration file, made from the schema of `fastgate.config.schema`.

It describes what may be written: durations and sizes as text too, ``${NAME}`` where a number or a boolean stands, and
``false`` for keys that switch a default off. What refers to other keys is left to ``fastgate check``.
"""

import inspect as python_inspect
from collections.abc import Mapping
from typing import Any

from msgspec import NODEFAULT, inspect, to_builtins

from fastgate.config.schema.described import in_written_order, marks, struct_fields
from fastgate.config.schema.kinds import SECRET_KINDS
from fastgate.config.schema.root import Root

DURATION = r"^\s*([0-9]+(\.[0-9]+)?|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)\s*$"
SIZE = r"^\s*[0-9]+(\.[0-9]+)? ?[KMGTkmgt]?([iI]?[bB])?\s*$"
REFERENCE = r"\$\{.*\}"
LIST_OF_VARIABLE = {
    "type": "object",
    "properties": {"env": {"type": "string"}, "split": {"type": "string", "minLength": 1}},
    "required": ["env", "split"],
    "additionalProperties": False,
}


def make_schema() -> dict[str, Any]:
    """The whole schema, ready for `json.dumps`."""
    definitions: dict[str, Any] = {}
    root = table_schema(Root, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fastgate configuration",
        **root,
        "$defs": definitions,
    }


def table_schema(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """The object schema of one table; tables inside it go to the definitions."""
    properties: dict[str, Any] = {}
    required = []
    for field in struct_fields(cls):
        extra = marks(field.type)
        if extra.get("internal"):
            continue
        made = type_schema(field.type, definitions)
        if extra.get("single"):
            forms = made.get("anyOf", [made])
            made = {"anyOf": [forms[0]["items"], *forms]}
        if "low" in extra:
            made["anyOf"][0]["minimum"] = extra["low"]
        if "text" in extra:
            made = {"anyOf": [{"type": "string", "minLength": 1}, made]}
        if "on" in extra:
            made = {"anyOf": [made, {"const": True}]}
        if extra.get("policy") and made.get("type") != "boolean":
            made = {"anyOf": [made, {"const": False}]}
        properties[field.encode_name] = {**made, **_described(field, extra)}
        if field.required:
            required.append(field.encode_name)
    made = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        made["required"] = required
    one_of = getattr(cls, "one_of", ())
    if one_of:
        made["oneOf"] = [{"required": [name]} for name in one_of]
    return made


def _described(field: inspect.Field, extra: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    about = field.type.extra_json_schema if isinstance(field.type, inspect.Metadata) else None
    made.update(about or {})
    if field.default is not NODEFAULT and field.default is not None:
        made["default"] = "0660" if extra.get("kind") == "mode" else to_builtins(field.default)
    elif field.default_factory is not NODEFAULT:
        default = to_builtins(field.default_factory())
        if default:
            made["default"] = default
    return made


def type_schema(kind: inspect.Type, definitions: dict[str, Any], name: str = "") -> dict[str, Any]:
    """The schema of one type; ``name`` is the kind that a `Metadata` around it gave."""
    match kind:
        case inspect.Metadata():
            return type_schema(kind.type, definitions, marks(kind).get("kind", name))
        case inspect.StructType():
            return _struct_schema(kind.cls, definitions, name)
        case inspect.UnionType():
            members = [type_schema(m, definitions) for m in kind.types if not isinstance(m, inspect.NoneType)]
            return members[0] if len(members) == 1 else {"anyOf": members}
        case inspect.ListType():
            made: dict[str, Any] = {"type": "array", "items": type_schema(kind.item_type, definitions)}
            bounds = {"minItems": kind.min_length, "maxItems": kind.max_length}
            made.update({name: bound for name, bound in bounds.items() if bound})
            return {"anyOf": [made, LIST_OF_VARIABLE]} if _may_be_text(made["items"]) else made
        case inspect.DictType():
            made = {"type": "object", "additionalProperties": type_schema(kind.value_type, definitions)}
            key = marks(kind.key_type).get("kind", "")
            return {**made, "propertyNames": {"minLength": 1}} if key else made
        case inspect.StrType():
            return _text_schema(kind, name)
        case inspect.BoolType():
            return {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": f"^{REFERENCE}$"}]}
        case inspect.IntType() | inspect.FloatType():
            return _number_schema(kind, name)
        case inspect.LiteralType():
            return {"anyOf": [{"enum": list(in_written_order(kind.values))}, {"type": "string", "pattern": REFERENCE}]}
    return {}


def _may_be_text(schema: dict[str, Any]) -> bool:
    """Whether an element of a list may be written as a string."""
    forms = schema.get("anyOf", [schema])
    return any(form.get("type") == "string" or "enum" in form for form in forms)


def _struct_schema(cls: type, definitions: dict[str, Any], name: str) -> dict[str, Any]:
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = {}
        made = table_schema(cls, definitions)
        definitions[cls.__name__] = {"description": (python_inspect.cleandoc(cls.__doc__ or "")), **made}
    reference = {"$ref": f"#/$defs/{cls.__name__}"}
    return {"anyOf": [reference, {"type": "string", "minLength": 1}]} if name == "target" else reference


def _text_schema(kind: inspect.StrType, name: str) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "string"}
    if kind.min_length:
        made["minLength"] = kind.min_length
    if name in SECRET_KINDS:
        sources = [
            {
                "type": "object",
                "properties": {source: {"type": "string"}},
                "required": [source],
                "additionalProperties": False,
            }
            for source in ("env", "file")
        ]
        return {"anyOf": [made, *sources]}
    return made


def _number_schema(kind: inspect.IntType | inspect.FloatType, name: str) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "integer" if isinstance(kind, inspect.IntType) else "number"}
    for bound, word in (
        (kind.ge, "minimum"),
        (kind.le, "maximum"),
        (kind.gt, "exclusiveMinimum"),
        (kind.lt, "exclusiveMaximum"),
    ):
        if bound is not None:
            made.update({word: bound})
    pattern = {"duration": DURATION, "size": SIZE, "mode": "^(0o)?[0-7]{1,4}$"}.get(name)
    texts = [{"type": "string", "pattern": pattern}] if pattern else []
    return {"anyOf": [made, *texts, {"type": "string", "pattern": REFERENCE if pattern else f"^{REFERENCE}$"}]}
