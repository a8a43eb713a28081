"""Header values with variables: ``"{client_ip}"``, ``"id-{param.id}"``; ``{{`` and ``}}`` are literal braces."""

import re
from typing import NamedTuple

from fastgate.config.suggest import nearest

VARIABLES = ("client_ip", "request_id", "host", "path")
"""Variables without an argument."""

FAMILIES = ("param",)
"""Variables with an argument: ``{param.NAME}`` is a parameter of the route's path."""

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Variable(NamedTuple):
    """``name`` is one of `VARIABLES` (``argument`` "") or of `FAMILIES`."""

    name: str
    argument: str = ""


def parse_template(text: str) -> tuple[str | Variable, ...]:
    """Literal pieces and variables in their order; adjacent literals are one piece.

    Raises ValueError for a variable that does not exist and for a single brace.
    """
    parts: list[str | Variable] = []
    literal = ""
    position = 0
    for token in _TOKEN.finditer(text):
        literal += text[position : token.start()]
        position = token.end()
        whole = token.group()
        if whole in ("{{", "}}"):
            literal += whole[0]
            continue
        if token.group(1) is None:
            raise ValueError(f'"{whole}" stands alone; write "{whole * 2}" for a literal brace')
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(_variable(token.group(1)))
    literal += text[position:]
    if literal:
        parts.append(literal)
    return tuple(parts)


def escape_braces(text: str) -> str:
    """The text with its braces doubled, so that a template gives it back as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def _variable(text: str) -> Variable:
    name, dot, argument = text.partition(".")
    if not dot and name in VARIABLES:
        return Variable(name)
    if dot and argument and name in FAMILIES:
        return Variable(name, argument)
    known = [*VARIABLES, *(f"{family}.NAME" for family in FAMILIES)]
    meant = nearest(text, known)
    if meant:
        raise ValueError(f"unknown variable {{{text}}}, did you mean {{{meant}}}?")
    listed = " ".join(f"{{{word}}}" for word in known)
    raise ValueError(f'unknown variable {{{text}}}, known are {listed}; "{{{{" is a literal brace')
