"""Text with variables: ``"{client_ip}"``, ``"id-{param.id}"``; ``{{`` and ``}}`` are literal braces.

Header values use every variable, the target of a redirect those in `REDIRECT_VARIABLES`.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

from fastgate.config.suggest import nearest

VARIABLES = ("client_ip", "request_id", "host", "path")
"""Variables without an argument."""

REDIRECT_VARIABLES = ("host", "path", "param")
"""Variables that the target of a redirect may have."""

FAMILIES = ("param", "claim")
"""Variables with an argument: ``{param.NAME}`` is a parameter of the route's path, ``{claim.NAME}`` a claim of who was
authenticated."""

WHO = "key.id"
"""The variable for the id of the authenticated client."""

EVERYTHING = (*VARIABLES, *FAMILIES, "key")
"""What a variable's name may begin with."""

_NOT_IN_URL = re.compile(r"""[^!-~]|["<>\\^`{|}]""")
_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Variable(NamedTuple):
    """``name`` is one of `VARIABLES` (``argument`` "") or of `FAMILIES`."""

    name: str
    argument: str = ""


def parse_template(text: str, usable: Collection[str] = EVERYTHING) -> tuple[str | Variable, ...]:
    """Literal pieces and variables in their order; adjacent literals are one piece.

    Raises ValueError for a variable that does not exist and for a single brace. ``usable`` are those that the message
    lists; one that is not among them is parsed all the same.
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
            raise ValueError(f'"{whole}" is a single brace; write "{whole * 2}" for a literal brace')
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(_variable(token.group(1), usable))
    literal += text[position:]
    if literal:
        parts.append(literal)
    return tuple(parts)


def parse_redirect(text: str) -> tuple[str | Variable, ...]:
    """The parts of a redirect's target, as `parse_template` gives them. Raises ValueError with the reason.

    What a path starts with is written out, or is ``{path}``: a target of two slashes is another site's.
    """
    parts = parse_template(text, REDIRECT_VARIABLES)
    for part in parts:
        if isinstance(part, Variable):
            if part.name not in REDIRECT_VARIABLES:
                raise ValueError(f"a redirect can use {{host}}, {{path}} and {{param.NAME}}, not {{{part.name}}}")
        else:
            odd = _NOT_IN_URL.search(part)
            if odd:
                raise ValueError(f"a URL must not contain {odd.group()!r}; write it percent-encoded")
    first = parts[0] if parts else ""
    if first == Variable("path"):
        return parts
    rest = first.lower() if isinstance(first, str) else ""
    for scheme in ("https://", "http://"):
        if rest.startswith(scheme):
            after = parts[1:2] if rest == scheme else (rest[len(scheme)],)
            if not after or after[0] in ("/", "?", "#", Variable("path")):
                raise ValueError("the host is missing")
            return parts
    if not rest.startswith("/"):
        raise ValueError('expected a path that starts with "/", or a URL that starts with "https://" or "http://"')
    if rest.startswith("//"):
        raise ValueError("two slashes at the start mean another host: write the scheme before them")
    if rest == "/" and len(parts) > 1 and parts[1] == Variable("path"):
        raise ValueError('{path} already starts with "/", and two slashes at the start mean another host')
    return parts


def escape_braces(text: str) -> str:
    """The text with its braces doubled, so that a template gives it back as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def _variable(text: str, usable: Collection[str]) -> Variable:
    name, dot, argument = text.partition(".")
    if not dot and name in VARIABLES:
        return Variable(name)
    if dot and argument and name in FAMILIES:
        return Variable(name, argument)
    if text == WHO:
        return Variable(name, argument)
    known = [*VARIABLES, WHO, *(f"{family}.NAME" for family in FAMILIES)]
    known = [word for word in known if word.partition(".")[0] in usable]
    meant = nearest(text, known)
    if meant:
        raise ValueError(f"unknown variable {{{text}}}, did you mean {{{meant}}}?")
    listed = " ".join(f"{{{word}}}" for word in known)
    raise ValueError(f'unknown variable {{{text}}}; the variables are {listed}; "{{{{" is a literal brace')
