"""Regular expressions of a configuration: they match what Python's ``re`` matches, in time linear in the text."""

import re
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastgate._core.routing.expressions import MAX_SIZE, Captures, Spans, compile_expression, matchers

# -- agreement with Python: expressions of the syntax that both have

ATOMS = st.sampled_from(
    ["a", "b", "/", ".", "[ab]", "[^a]", "[^/]", r"\.", r"\w", r"\d", r"[\w-]", "x1", r"\x61", "[a-c/]", r"\b", r"[]a]"]
)
COUNTS = st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,3}", "{,2}", "{2,}", "{,2}?", "{1,2}?"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        several.map("".join),
        several.map(lambda parts: f"(?:{'|'.join(parts)})"),
        several.map(lambda parts: f"({'|'.join(parts)})"),
        st.tuples(several.map("".join), COUNTS).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        st.tuples(st.sampled_from(["a", "b", "[ab]", ".", "(x)"]), COUNTS).map("".join),
    )


EXPRESSIONS = st.tuples(
    st.sampled_from(["", "", "^", r"\A", "(?i)", "(?s)"]),
    st.recursive(ATOMS, grown, max_leaves=8),
    st.sampled_from(["", "", "$", r"\Z"]),
).map("".join)
TEXTS = st.text(alphabet="abAB/.x1- ", max_size=12)


def python(expression: str) -> re.Pattern[str]:
    return re.compile(expression.replace("(?i)", "(?ia)", 1) if "(?i)" in expression else f"(?a){expression}")


def spans(match: re.Match[str] | None) -> Spans | None:
    return [match.span(group) for group in range(len(match.groups()) + 1)] if match is not None else None


def repeats_a_group(expression: str) -> bool:
    """Whether the repeated may be empty: which of the empty matches counts then, engines do not agree on."""
    return re.search(r"\)(?:\*|\+|\{)", expression) is not None


@settings(max_examples=600, deadline=None)
@given(EXPRESSIONS, st.lists(TEXTS, min_size=1, max_size=5))
@example("(?:a|b){,2}", ["", "ab", "{,2}", "aaa"])
@example("(a|ab)(c|bcd)(d*)", ["abcd"])
@example("(.*?)(a*)(.*)", ["baab"])
def test_generated_expressions_match_as_in_python(expression: str, texts: list[str]) -> None:
    expected = python(expression)
    made = compile_expression(expression)
    verdict = compile_expression(expression, captures="none")
    assert made.groups == expected.groups
    for text in texts:
        sent = text.encode()
        full, found = spans(expected.fullmatch(text)), spans(expected.search(text))
        assert verdict.fullmatch(sent) == (full and full[:1]), (expression, text)
        assert (made.fullmatch(sent) is None, made.search(sent) is None) == (full is None, found is None)
        if not repeats_a_group(expression):
            assert made.fullmatch(sent) == full, (expression, text)
            assert made.search(sent) == found, (expression, text)
        if full is not None:
            assert sent.startswith(made.prefix), (expression, text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=8), st.text(max_size=8))
def test_text_in_utf8_is_read_by_characters(text: str, other: str) -> None:
    if "\\E" in text:
        return
    literal = compile_expression(rf"\Q{text}\E", utf8=True, captures="none")
    for each in (text, other):
        assert (literal.fullmatch(each.encode("utf-8", "replace")) is not None) == (each == text)
    assert compile_expression(f"(?s).{{{len(other)}}}", utf8=True).fullmatch(other.encode()) is not None


@pytest.mark.parametrize(
    ("expression", "names", "groups"),
    [
        ("(?P<a>.)(.)(?P<b>.)", {"a": 1, "b": 3}, 3),
        ("(?<b>.)(?P<a>.)", {"b": 1, "a": 2}, 2),
        (r"\(?P<a>(?:.)[(]", {}, 0),
        (r"[^](](.)", {}, 1),
        ("", {}, 0),
    ],
)
def test_the_groups_of_an_expression(expression: str, names: dict[str, int], groups: int) -> None:
    made = compile_expression(expression)
    assert (made.names, made.groups) == (names, groups)
    named = compile_expression(expression, captures="named")
    assert named.names == {name: number for number, name in enumerate(names, 1)}
    assert named.groups == len(names)
    none = compile_expression(expression, captures="none")
    assert (none.names, none.groups) == (names, 0)


def test_named_groups_alone_are_numbered_by_themselves() -> None:
    made = compile_expression("(/.)(?P<a>/.)(/.)(?P<b>/.)?", captures="named")
    assert made.fullmatch(b"/1/2/3") == [(0, 6), (2, 4), (-1, -1)]


def test_it_works_with_the_public_functions_of_the_library_alone() -> None:
    class Public:
        """What the library documents."""

        def __init__(self, pattern: bytes) -> None:
            compiled = pytest.importorskip("re2").compile(pattern)
            self.fullmatch, self.search = compiled.fullmatch, compiled.search

    expression = "(a+)(?P<x>b)?"
    made = compile_expression(expression)
    fullmatch, search = matchers(Public(expression.encode()), made.groups)
    for text in (b"", b"a", b"xaabb", b"ab"):
        assert (made.fullmatch(text), made.search(text)) == (fullmatch(text), search(text))
    assert search(b"xaab") == [(1, 4), (1, 3), (3, 4)]


@pytest.mark.parametrize(
    ("expression", "prefix"),
    [
        ("^/v1/[0-9]+", b"/v1/"), ("/v1/", b"/v1/"), (r"/a\.b(?P<x>.*)", b"/a.b"), ("/ab*", b"/a"), ("/ab{0}", b"/a"),
        ("/a|/b", b""), ("(/a|/b)", b""), ("(?i)/a", b""), ("/a(?i)b", b"/a"), ("/(a|b)", b"/"), ("^*/a", b""),
        ("", b""), (r"\A/a", b"/a"), ("[/]a", b""), ("/a(b|c)|d", b""), ("(?m)^/a", b""), (r"\Q/a\E", b""),
        ("//?a", b"/"),
    ],
)  # fmt: skip
def test_what_every_match_begins_with(expression: str, prefix: bytes) -> None:
    assert compile_expression(expression).prefix == prefix


# -- time: with an engine that goes back these would take longer than the tests may, most of them than anything lasts

HOSTILE = [
    ("(a+)+", "a", "!"),
    ("(a|aa)+", "a", "!"),
    ("(a|a?)+", "a", "!"),
    ("(.*)a(.*)a(.*)a(.*)a(.*)b", "a", "c"),
    ("([a-z0-9-]+/?)+", "a", "!"),
    ("(a*)*(b*)*(a*)*c", "ab", "!"),
    ("(?P<x>(?:a|b)*)a(?:a|b){20}", "ab", "!"),
    (r"^(\w+\s?)*$", "a", "!"),
    ("(x+x+)+y", "x", ""),
    (r"(.*?,){11}P", ",", ""),
]


@pytest.mark.parametrize(("expression", "repeated", "end"), HOSTILE, ids=[each[0] for each in HOSTILE])
@pytest.mark.parametrize("captures", ["none", "all"])
def test_no_text_makes_an_expression_run_away(expression: str, repeated: str, end: str, captures: Captures) -> None:
    made = compile_expression(expression, captures=captures)
    text = (repeated * 32_000)[:32_000].encode() + end.encode()
    for _ in range(3):
        assert made.fullmatch(text) is None
        made.search(text)


@pytest.mark.long
@pytest.mark.parametrize(("expression", "repeated", "end"), HOSTILE, ids=[each[0] for each in HOSTILE])
def test_four_times_the_text_takes_about_four_times_as_long(expression: str, repeated: str, end: str) -> None:
    """Time of this thread alone, the least of several; the square of the length would be sixteen times."""
    made = compile_expression(expression)

    def least(length: int) -> float:
        text = (repeated * length)[:length].encode() + end.encode()
        times = []
        for _ in range(7):
            began = time.thread_time()
            made.fullmatch(text)
            made.search(text)
            times.append(time.thread_time() - began)
        return min(times)

    assert least(400_000) < 10 * least(100_000)


def test_what_can_cost_too_much_for_each_byte_is_refused() -> None:
    compile_expression(f"a{{{MAX_SIZE // 4}}}", captures="none")
    with pytest.raises(ValueError, match=rf"it has [0-9]+ steps, at most {MAX_SIZE} are allowed, because each byte"):
        compile_expression("(?:[a-z]{1,30}[0-9]?){1,30}[a-z]{1,1000}" * 3)


# -- what is refused, and what to write instead

REFUSED = {
    "a(?=b)": '"(?=" at character 2 looks ahead, which cannot be matched in linear time: write what may stand there',
    "^/(?!admin)": '"(?!" at character 3 looks ahead, which cannot be matched in linear time: write what may stand',
    "(?<=a)b": '"(?<=" at character 1 looks behind, which cannot',
    "(?<!a)b": '"(?<!" at character 1 looks behind, which cannot',
    r"(a)\1": r'"\1" at character 4 refers to a group, which cannot be matched in linear time: write what the group',
    r"(a)\12": r'"\1" at character 4 refers to a group',
    "(?P<x>a)(?P=x)": '"(?P=" at character 9 refers to a group, which cannot',
    "(a)?(?(1)b|c)": '"(?(" at character 5 depends on a group, which cannot',
    "(?>a)": '"(?>" at character 1 is not needed, because matching never backtracks: write (?:',
    "ab*+": '"*+" at character 3 is not needed, because matching never backtracks: write "*"',
    "ab++": '"++" at character 3 is not needed, because matching never backtracks: write "+"',
    "ab?+": '"?+" at character 3 is not needed, because matching never backtracks: write "?"',
    "a{2,3}+": '"{2,3}+" at character 2 is not needed',
    "a(?#b)": '"(?#" at character 2 is not supported: leave the comment out',
    "(?x)a": 'the flag "x" at character 1 is not supported: write the expression without white space and comments',
    "(?ia)a": 'the flag "a" at character 1 is not supported: leave it out',
    "(?z)a": 'the flag "z" at character 1 is not supported: flags are i, m, s and U',
    r"\u00e9": r'"\u" at character 1 is not a valid escape: write \x and two digits, or the character',
    r"[\N{DASH}]": r'"\N" at character 2 is not a valid escape',
    r"[\b]": r'"\b" at character 2 is not a valid escape',
    r"a\y": r'"\y" at character 2 is not a valid escape',
    "a\\": "it ends with a single backslash",
    "(a": 'a "(" is not closed at character 1',
    "a)": 'a ")" closes nothing at character 2',
    "a[b": 'a "[" is not closed at character 2',
    "[]": 'a "[" is not closed at character 1',
    "[z-a]": '"z-a" at character 2 is not a valid range of characters',
    "|*": '"*" at character 2 has nothing before it that could be repeated',
    "a**": '"**" at character 2 repeats a repetition: put the first into a group',
    "a{1001}": '"{1001}" at character 2 is not a valid count: at most 1000',
    "(?:a{40}){40}": "is not a valid count: at most 1000, and counts inside each other multiply",
    "(?P<1>a)": '"1" at character 1 is not a valid name of a group',
    "(?P<ä>a)": '"ä" at character 1 is not a valid name of a group',
    "(?P<x>a)(?P<x>b)": 'two groups are named "x" at character 9',
    "(?P<x": '"(?" at character 1 does not begin a valid group',
    "é": '"é" at character 1 is not ASCII: write it as it is sent',
}  # fmt: skip


@pytest.mark.parametrize(("expression", "told"), REFUSED.items(), ids=list(REFUSED))
def test_what_cannot_be_used_and_what_to_write_instead(expression: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        compile_expression(expression)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=r"ab(?P<>=!#:)[]^-\{}1,|*+.$Zxi ", max_size=12))
def test_whatever_is_written_compiles_or_is_refused_in_words(expression: str) -> None:
    try:
        compile_expression(expression).fullmatch(b"ab")
    except ValueError as error:
        assert str(error)


def test_nothing_is_written_to_the_log_of_the_library(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="closes nothing"):
        compile_expression("a)")
    with pytest.raises(ValueError, match="not a valid escape"):
        compile_expression(r"\y")
    assert capfd.readouterr() == ("", "")


def test_without_the_library_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ValueError, match="regular expressions need google-re2: pip install google-re2"):
        compile_expression("a")


def test_the_library_is_loaded_with_the_first_expression() -> None:
    program = """
import sys
import fastgate.gateway.runtime
from fastgate.config import GatewayConfig
for path in "/{a}", "~/a":
    GatewayConfig.from_dict({"routes": [{"name": "r", "path": path, "respond": {}, "headers": {"x": "*"}}]})
    print("re2" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_several_threads_may_use_one_expression() -> None:
    made = compile_expression("(?P<a>[a-z]+)/(?P<b>[0-9]+)")
    wrong: list[int] = []

    def use(number: int) -> None:
        text = b"x" * number + b"/" + b"1" * number
        expected = [(0, 2 * number + 1), (0, number), (number + 1, 2 * number + 1)]
        wrong.append(sum(made.fullmatch(text) != expected for _ in range(500)))

    threads = [threading.Thread(target=use, args=(number,)) for number in (1, 5, 70, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [0, 0, 0, 0]
