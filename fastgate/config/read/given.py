"""What was given where something else is wanted, as messages name it."""

import datetime as dt
from collections.abc import Mapping

from fastgate.config.errors import quote


def describe(value: object) -> str:
    """A raw value as an error message names it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f"the string {quote(value)}"
        case int() | float():
            return f"the number {value}"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "a table"
        case dt.datetime():
            return "a date and time"
        case dt.date():
            return "a date"
        case dt.time():
            return "a time of day"
    return f"a {type(value).__name__}"
