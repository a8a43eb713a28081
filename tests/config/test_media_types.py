"""Ranges of media types."""

import pytest

from fastgate.config.syntax.media_types import check_media_range


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("text/*", "text/*"), ("Application/JSON", "application/json"), ("application/*+json", "application/*+json"),
        ("image/svg+xml", "image/svg+xml"), ("text", None), ("*/*", "*/*"), ("text/", None), ("/html", None),
        ("text/a/b", None), ("text/*-*", None), ("text/html;q=1", None), ("", None), ("a b/c", None),
    ],
)
def test_media_ranges(text: str, value: str | None) -> None:
    if value is not None:
        assert check_media_range(text) == value
    else:
        with pytest.raises(ValueError, match="media type"):
            check_media_range(text)
