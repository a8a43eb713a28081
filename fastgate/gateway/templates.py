"""Field values with variables, compiled for the core."""

from fastgate._core.exchange.field_values import VARIABLES, Template
from fastgate.config.syntax.templates import Variable, parse_template


def compile_value(text: str) -> bytes | Template:
    """A field value, as plain bytes where it has no variables."""
    parts = parse_template(text)
    if not any(isinstance(part, Variable) for part in parts):
        return "".join(str(part) for part in parts).encode("latin-1")
    return Template([
        (VARIABLES[part.name], part.argument) if isinstance(part, Variable) else part.encode("latin-1")
        for part in parts
    ])
