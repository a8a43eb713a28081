"""Options of plugins: what fits becomes an object of the author's Struct, everything else is told of with its path."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from fastgate.config import Duration, Secret, Size
from fastgate.config.read.options import OptionsError, read_options

A_DURATION = 'expected a duration such as "250ms", "2s", "5m", "1h", "1d" or a number of seconds'
A_SIZE = 'expected a size such as "64KB", "10MB", "1GB" or a number of bytes, got the string "3XB"'


class Mode(Enum):
    ON = "on"
    OFF = "off"


class Limits(msgspec.Struct):
    per: Duration
    most: Size = 1024
    names: list[str] = []


class Options(msgspec.Struct, kw_only=True):
    header: Annotated[str, msgspec.Meta(min_length=1)] = "x"
    tenants: frozenset[str] = frozenset()
    wait: Duration = 1.0
    perhaps: Duration | None = None
    waits: list[Duration] = []
    key: Secret = ""
    count: int = 1
    share: float = 0.5
    mode: Mode = Mode.ON
    word: Literal["a", "b"] = "a"
    limits: Limits | None = None
    by_name: dict[str, Limits] = {}
    strict: bool = msgspec.field(default=False, name="is-strict")

    def __post_init__(self) -> None:
        if self.count > 5:
            raise ValueError("count is too much")


class Needs(msgspec.Struct):
    url: str
    also: int


def wrong(options: dict[str, Any], kind: type[msgspec.Struct] = Options) -> dict[str, str]:
    with pytest.raises(OptionsError) as error:
        read_options(kind, options)
    assert len(dict(error.value.found)) == len(error.value.found)
    return {".".join(map(str, keys)): message for keys, message in error.value.found}


def test_what_fits() -> None:
    assert read_options(Options, {}) == Options()
    given = {
        "header": "y", "tenants": ["a", "b"], "wait": "250ms", "perhaps": "2s", "waits": [1, "1m"],
        "count": 3, "share": 1, "mode": "off", "word": "b",
        "limits": {"per": "1m30s", "most": "64KB"}, "by_name": {"x": {"per": 2}},
        "is-strict": True,
    }
    assert read_options(Options, given) == Options(
        header="y", tenants=frozenset("ab"), wait=0.25, perhaps=2.0, waits=[1.0, 60.0],
        count=3, share=1.0, mode=Mode.OFF, word="b",
        limits=Limits(per=90.0, most=65536), by_name={"x": Limits(per=2.0)}, strict=True,
    )


def test_what_came_from_the_environment_is_text() -> None:
    """``count = "${COUNT}"`` is a string when it gets here."""
    made = read_options(Options, {"count": "4", "share": "0.25", "is-strict": "true"})
    assert (made.count, made.share, made.strict) == (4, 0.25, True)


def test_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "hidden")
    (tmp_path / "key").write_text("hidden too\n")
    assert read_options(Options, {"key": {"env": "TEST_KEY"}}).key == "hidden"
    assert read_options(Options, {"key": {"file": str(tmp_path / "key")}}).key == "hidden too"
    assert read_options(Options, {"key": "open"}).key == "open"
    monkeypatch.delenv("TEST_KEY")
    assert wrong({"key": {"env": "TEST_KEY"}}) == {"key": "environment variable TEST_KEY is not set"}


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"heder": "y"}, "heder", 'unknown key, did you mean "header"?'),
        ({"limits": {"per": 1, "mots": 2}}, "limits.mots", 'unknown key, did you mean "most"?'),
        ({"limits": {"per": 1, "zzz": 2}}, "limits.zzz", "unknown key; the keys are per, most, names"),
        ({"header": 5}, "header", "expected `str`, got `int`"),
        ({"header": ""}, "header", "expected `str` of length >= 1"),
        ({"tenants": "a"}, "tenants", "expected `array`, got `str`"),
        ({"tenants": ["a", 1]}, "tenants.1", "expected `str`, got `int`"),
        ({"wait": "soon"}, "wait", f'{A_DURATION}, got the string "soon"'),
        ({"wait": True}, "wait", "expected a duration, got true"),
        ({"wait": -1}, "wait", "a duration cannot be negative"),
        ({"waits": [1, "x1"]}, "waits.1", f'{A_DURATION}, got the string "x1"'),
        ({"limits": {"per": 1, "most": "3XB"}}, "limits.most", A_SIZE),
        ({"limits": {}}, "limits", "object missing required field `per`"),
        ({"limits": {"per": 1, "names": [1]}}, "limits.names.0", "expected `str`, got `int`"),
        ({"by_name": {"x": {"per": 1, "pre": 1}}}, "by_name.x.pre", 'unknown key, did you mean "per"?'),
        ({"mode": "maybe"}, "mode", "invalid enum value 'maybe'"),
        ({"key": 5}, "key", "expected a string, got the number 5"),
        ({"key": {"var": "X"}}, "key", 'expected a string, { env = "NAME" } or { file = "path" }'),
        ({"count": 6}, "", "count is too much"),
    ],
)  # fmt: skip
def test_what_does_not_fit(options: dict[str, Any], path: str, said: str) -> None:
    assert wrong(options) == {path: said}


def test_everything_is_told_of_at_once() -> None:
    assert wrong({"header": 5, "count": "x", "wiat": 1}) == {
        "wiat": 'unknown key, did you mean "wait"?',
        "header": "expected `str`, got `int`",
        "count": "expected `int`, got `str`",
    }
    assert wrong({}, Needs) == {"url": "is missing", "also": "is missing"}


def test_a_key_that_was_meant_is_not_missing_too() -> None:
    assert wrong({"ulr": "x", "also": 1}, Needs) == {"ulr": 'unknown key, did you mean "url"?'}
