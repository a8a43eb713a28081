"""YAML with the core schema of YAML 1.2, within bounds."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate.config import ConfigError, GatewayConfig
from fastgate.config.syntax.depth import MAX_DEPTH
from fastgate.config.syntax.lines import json_lines
from fastgate.config.syntax.yaml_documents import ALIASED_PER_VALUE, MAX_ALIASED, load_yaml, yaml_lines

CORE = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None, "": None,
    "0": 0, "7": 7, "-7": -7, "+7": 7, "1234567890123": 1234567890123,
    "1.5": 1.5, "-0.5": -0.5, ".5": 0.5, "5.": 5.0, "1e3": 1000.0, "1.5E-2": 0.015, "0.0": 0.0,
}  # fmt: skip
TEXT = [
    "on", "off", "yes", "no", "y", "n", "On", "YES", "tRue", "nULL",
    "1:30", "190:20:30", "0660", "010", "00", "-01", "01.5", "0o17", "0x1F", "0b11", "1_000",
    ".inf", "-.inf", ".nan", ".NaN", "2027-01-01", "2027-01-01T00:00:00Z", "12:30:00", "5s", "5xx", "1.2.3", "1e", "e3",
    "=", "<<x", "/a*", "ä", "٣",
]  # fmt: skip


@pytest.mark.parametrize(("written", "value"), CORE.items(), ids=repr)
def test_what_is_converted(written: str, value: object) -> None:
    read = load_yaml(f"a: {written}\nb: [{written}]", "")
    assert (read, type(read["a"])) == ({"a": value, "b": [value] if written else []}, type(value))
    assert load_yaml(f"a: '{written}'", "") == load_yaml(f"a: !!str {written}", "") == {"a": written}


@pytest.mark.parametrize("written", TEXT)
def test_everything_else_is_text(written: str) -> None:
    assert load_yaml(f"a: {written}\nb: {{c: {written}}}", "") == {"a": written, "b": {"c": written}}


@pytest.mark.parametrize("key", ["on", "true", "null", "503", "1.5", "0x1F", "2027-01-01", "~", "yes"])
def test_keys_are_text(key: str) -> None:
    assert load_yaml(f"{key}: 1\nb: {{{key}: 2}}", "") == {key: 1, "b": {key: 2}}


# YAML has no noncharacters, and its line ends are others than those of JSON.
NOT_YAML = "\u2028\u2029\ufeff\ufffe\uffff"
JSON_DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters=NOT_YAML, exclude_categories=["Cc", "Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[a-z<:~]{1,4}", fullmatch=True), inner),
    max_leaves=25,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), JSON_DATA, min_size=1))
def test_json_is_read_as_json(data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=1, ensure_ascii=False)
    assert load_yaml(text, "") == data
    assert yaml_lines(text) == json_lines(text)


def test_numbers_that_are_not_finite_are_numbers_or_text() -> None:
    assert load_yaml("a: 1e400", "") == {"a": math.inf}
    with pytest.raises(ConfigError, match="a number has too many digits"):
        load_yaml(f"a: {'9' * 5000}", "")


MERGES = """
base: &base {a: 1, b: {c: 2}}
other: &other
  b: 3
  d: 4
one: {<<: *base, b: 5}
two: {b: 6, <<: *base}
several: {<<: [*other, *base], e: 7}
nested: {<<: {<<: *other, b: 8}}
text: {"<<": 9}
again: *base
"""


def test_keys_are_taken_over_where_they_are_not_given() -> None:
    data = load_yaml(MERGES, "")
    assert data["one"] == {"a": 1, "b": 5}
    assert data["two"] == {"a": 1, "b": 6}
    assert data["several"] == {"a": 1, "b": 3, "d": 4, "e": 7}
    assert data["nested"] == {"b": 8, "d": 4}
    assert data["text"] == {"<<": 9}
    assert data["again"] == {"a": 1, "b": {"c": 2}}
    lines = yaml_lines(MERGES)
    assert [lines["one", "a"], lines["one", "b"], lines["several", "d"], lines["again", "b", "c"]] == [2, 6, 5, 2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", 'f:3: the key "a" was already given on line 1'),
        ("a: 1\n'a': 2", 'f:2: the key "a" was already given on line 1'),
        ("1: a\n!!str 1: b", 'f:2: the key "1" was already given on line 1'),
        ("a: &x {b: 1}\nc:\n  <<: *x\n  <<: *x", 'f:4: the key "<<" was already given on line 3'),
        ("a: 1\n---\nb: 2", "f:2: a second YAML document begins here: a file must have only one"),
        ("a:\n- &x [1, *x]", 'f:2: the alias "*x" is inside the value that it stands for'),
        ("a: &x 1\nb: &x [*x]", 'f:2: the alias "*x" is inside the value that it stands for'),
        ("a: *x\nb: &x 1", 'f:1: there is no anchor "&x" before the alias "*x"'),
        ("a: &x [1]\nb: {<<: *x}", 'f:1: "<<" must be an alias of a mapping, or a list of them'),
        ("<<: 1", 'f:1: "<<" must be an alias of a mapping, or a list of them'),
        ("? [a]\n: 1", "f:1: a key must be text, but this is a list or a table"),
        ("a: !!binary aGk=", 'f:1: unknown tag "!!binary"; values are text, numbers, true, false and'),
        ("a: !!timestamp 2027-01-01", 'f:1: unknown tag "!!timestamp"'),
        ("a: !own {b: 1}", 'f:1: unknown tag "!own"'),
        ("a: !!python/object:os.system {}", 'f:1: unknown tag "!!python/object:os.system"'),
        ("a: !!set {b}", 'f:1: unknown tag "!!set"'),
        ("a: !!int 0x1F", 'f:1: "0x1F" is not a valid value of the tag "!!int"'),
        ("a: !!bool yes", 'f:1: "yes" is not a valid value of the tag "!!bool"'),
        ("a: !!int true", 'f:1: "true" is not a valid value of the tag "!!int"'),
        ("a: [1\n", "f:2: not YAML: did not find expected ',' or ']', at column 1"),
        ("a: \x00", "f: not YAML: "),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, "f")
    assert str(caught.value).startswith(told)


def test_tags_of_the_core_schema() -> None:
    text = 'a: !!str 5\nb: !!int "5"\nc: !!float 5\nd: !!null ""\ne: !!bool "true"\nf: !!map {}\ng: !!seq []\nh: ! 5'
    assert load_yaml(text, "") == {"a": "5", "b": 5, "c": 5.0, "d": None, "e": True, "f": {}, "g": [], "h": "5"}


# -- bounds

BOMB = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
BOMB += [f"a{number}: &a{number} [{','.join([f'*a{number - 1}'] * 10)}]" for number in range(1, 9)]
MERGE_BOMB = ["a0: &a0 {k0: {x: 1}}"]
MERGE_BOMB += [
    f"a{number}: &a{number} {{k{number}: {{<<: [*a{number - 1}, *a{number - 1}], y: *a{number - 1}}}}}"
    for number in range(1, 60)
]


@pytest.mark.parametrize("lines", [BOMB, MERGE_BOMB], ids=["lists", "merges"])
def test_aliases_stand_for_a_bounded_number_of_values(lines: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"f:[0-9]+: the aliases up to here stand for more than") as caught:
        load_yaml("\n".join(lines), "f")
    assert int(str(caught.value).split(":")[1]) < 25


def test_a_large_file_may_take_over_the_same_keys_everywhere() -> None:
    """Each of the routes takes 40 values over; that is what anchors are for."""
    base = ", ".join(f"k{number}: {number}" for number in range(40))
    text = f"base: &base {{{base}}}\nroutes:\n" + "".join(
        f"- {{<<: *base, name: r{number}, path: /{number}}}\n" for number in range(4000)
    )
    assert 4000 * 41 > MAX_ALIASED > ALIASED_PER_VALUE
    assert load_yaml(text, "")["routes"][3999] == {**load_yaml(text, "")["base"], "name": "r3999", "path": "/3999"}


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_bounded(opening: str, tmp_path: Path) -> None:
    closing = {"[": "]", "{a: ": "}", "- ": ""}[opening]
    load_yaml(opening * MAX_DEPTH + "1" + closing * MAX_DEPTH, "")
    for depth in (MAX_DEPTH + 1, 900, 2000, 100_000):
        for end in (closing * depth, ""):
            with pytest.raises(ConfigError, match="nested too deeply: at most 64 lists and tables may be inside each"):
                load_yaml(opening * depth + "1" + end, "")


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a.toml"])
@pytest.mark.parametrize("depth", [70, 500])
def test_depth_is_bounded_in_every_format(name: str, depth: int, tmp_path: Path) -> None:
    options = "[" * depth + "1" + "]" * depth
    text = {
        "a.json": '{"plugins": [{"name": "p", "use": "m:P", "options": {"a": %s}}]}',
        "a.yaml": "plugins: [{name: p, use: 'm:P', options: {a: %s}}]",
        "a.toml": 'plugins = [{ name = "p", use = "m:P", options = { a = %s } }]',
    }[name]
    (tmp_path / name).write_text(text % options)
    with pytest.raises(ConfigError, match="nested too deeply: at most 64 lists and tables may be inside each other"):
        GatewayConfig.from_file(tmp_path / name)


def test_depth_is_bounded_in_python() -> None:
    options: dict[str, Any] = {}
    options["a"] = options
    with pytest.raises(ConfigError, match=r"plugins\[0\].options: nested too deeply"):
        GatewayConfig.from_dict({"plugins": [{"name": "p", "use": "m:P", "options": options}]})


# -- files with nothing in them

EMPTY = {
    "a.toml": ["", "\n", "# nothing\n"],
    "a.yaml": ["", "\n", "# nothing\n", "---\n", "---\n# nothing\n...\n", "{}\n", "~\n", "%YAML 1.1\n---\n"],
    "a.json": ["", "\n", "{}"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in EMPTY.items() for text in texts])
def test_a_file_without_a_table(name: str, text: str, tmp_path: Path) -> None:
    for begin in ("", "\ufeff"):
        (tmp_path / name).write_text(begin + text)
        with pytest.raises(ConfigError) as caught:
            GatewayConfig.from_file(tmp_path / name)
        told = "the file is empty, so the gateway would serve nothing"
        assert str(caught.value) == f"{tmp_path / name}: {told}"


@pytest.mark.parametrize(("name", "text"), [("a.yaml", "[]"), ("a.yaml", "5"), ("a.json", "0"), ("a.json", '""')])
def test_what_is_no_table(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match="a configuration must be a table, but this is a list or a value"):
        GatewayConfig.from_file(tmp_path / name)


@pytest.mark.parametrize(("name", "text"), [("a.json", '{"a": %s}'), ("a.toml", "a = %s"), ("a.yaml", "a: %s")])
def test_a_number_that_is_too_long(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text % ("9" * 5000))
    with pytest.raises(ConfigError, match="a number has too many digits"):
        GatewayConfig.from_file(tmp_path / name)
