"""The line of every key, whatever the spelling."""

import json

import pytest

from fastgate.config.syntax.lines import json_lines, toml_lines
from fastgate.config.syntax.yaml_documents import yaml_lines

TOML = '''# [not.a.table]
top = 1 # x = 2
"quoted key" = """
a = 1
[b]
\\"""" # end
literal = \'\'\'
c = "
\'\'\'\'
[a.b]   # comment
x.y = 1
list = [ # [
  1,
  "]",
  [2,
   3], {p = 1, q = {r = 2}},

]
[[a.list]]
n = 1
[[a.list]]
n = 2
[a.list.inner]
m = 3
[[a.list.more]]
k = 1979-05-27T07:32:00Z
'''


def test_toml() -> None:
    lines = toml_lines(TOML)
    expected = {
        ("top",): 2, ("quoted key",): 3, ("literal",): 7, ("a",): 10, ("a", "b"): 10, ("a", "b", "x"): 11,
        ("a", "b", "x", "y"): 11, ("a", "b", "list"): 12, ("a", "b", "list", 0): 13, ("a", "b", "list", 1): 14,
        ("a", "b", "list", 2): 15, ("a", "b", "list", 2, 0): 15, ("a", "b", "list", 2, 1): 16,
        ("a", "b", "list", 3): 16, ("a", "b", "list", 3, "p"): 16, ("a", "b", "list", 3, "q"): 16,
        ("a", "b", "list", 3, "q", "r"): 16, ("a", "list"): 19, ("a", "list", 0): 19, ("a", "list", 0, "n"): 20,
        ("a", "list", 1): 21, ("a", "list", 1, "n"): 22, ("a", "list", 1, "inner"): 23,
        ("a", "list", 1, "inner", "m"): 24, ("a", "list", 1, "more"): 25, ("a", "list", 1, "more", 0): 25,
        ("a", "list", 1, "more", 0, "k"): 26,
    }  # fmt: skip
    assert lines == expected


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_endings(ending: str) -> None:
    assert toml_lines(f"a = 1{ending}{ending}b = 2{ending}")[("b",)] == 3


def test_json_and_yaml() -> None:
    data = {"a": {"b": [1, {"c": [[], [2]]}], "d,:{": "x\n[{"}, "e": [], "f": {}, "g": [{"h": 1}, {"i": None}]}
    text = json.dumps(data, indent=1)
    numbered = {line.strip().split(":")[0].strip('"'): number for number, line in enumerate(text.split("\n"), 1)}
    lines = json_lines(text)
    assert lines == yaml_lines(text)
    for path, line in lines.items():
        if isinstance(path[-1], str) and path[-1] in numbered:
            assert numbered[path[-1]] == line
    assert lines[("a", "b", 1, "c", 1, 0)] == lines[("a", "b", 1, "c", 1)] + 1
