"""Numbers in the compiled core that no C integer holds as they are written become Python objects, at each use."""

import re
from pathlib import Path

CORE = Path(__file__).resolve().parents[2] / "fastgate" / "_core"
OPERATOR = r"(?:[&|^+*/%~-]|<<|>>|==|[^-]>|<=?) *"
LARGE = re.compile(OPERATOR + r"(?P<number>0x[0-9a-fA-F]+|[0-9]{10,})(?P<suffix>U?LL)?\b(?![.x])")
CAST = re.compile(r"<(?:u?int64_t|uint32_t|long long|double)>$")


def is_object(code: str, match: re.Match[str]) -> bool:
    """Whether Cython makes an object of it."""
    return not match["suffix"] and int(match["number"], 0) >= 1 << 31 and not CAST.search(code[: match.start("number")])


def uses(text: str) -> list[str]:
    """Lines with an operand above 2³¹ that has no suffix and no cast to a C type."""
    lines = [(line.strip(), re.sub(r'#.*|b?".*?"', "", line)) for line in text.splitlines()]
    return [line for line, code in lines if any(is_object(code, match) for match in LARGE.finditer(code))]


def test_no_operand_is_a_python_number() -> None:
    files = [path for pattern in ("*.pyx", "*.pxd", "*.pxi") for path in sorted(CORE.rglob(pattern))]
    assert len(files) > 100
    assert {str(path.relative_to(CORE)): found for path in files if (found := uses(path.read_text()))} == {}


def test_one_is_found() -> None:
    assert uses("entry = 1 + (hash & 0xffffffff) % 65535") == ["entry = 1 + (hash & 0xffffffff) % 65535"]
    assert uses("entry = hash & 0xffffffffULL") == []
    assert uses("total = total * <uint64_t>0x9E3779B97F4A7C15  # & 0xffffffff") == []
