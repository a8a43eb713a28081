"""Media types, and ranges of them."""

import re

from fastgate.config.syntax.headers import check_header_value

_MEDIA_NAME = re.compile(r"[!#$&^_.+*A-Za-z0-9-]+", re.ASCII)
_MEDIA_RANGE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+*-]+")


def check_media_type(text: str) -> str:
    """The type with its parameters as it is, or nothing at all; ValueError for anything else."""
    if text:
        kind, slash, subtype = text.partition(";")[0].rstrip().partition("/")
        if not slash or "*" in text or not all(_MEDIA_NAME.fullmatch(part) for part in (kind, subtype)):
            raise ValueError(f'"{text}" is not a valid media type, such as "text/html; charset=utf-8"')
        check_header_value(text)
    return text


def check_media_range(text: str) -> str:
    """A media type in lower case; its subtype may hold one ``*``, or it is ``*/*``. ValueError for anything else."""
    if text == "*/*":
        return text
    if ";" in text:
        raise ValueError("a media type must not have parameters here: remove the part after the type")
    if not _MEDIA_RANGE.fullmatch(text) or text.count("*") > 1:
        raise ValueError('expected a media type such as "application/json", "text/*" or "application/*+json"')
    return text.lower()
