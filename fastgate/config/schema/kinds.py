"""The types that keys are made of: a plain type, its bounds, the check that its text must pass.

``extra["kind"]`` names how a leaf is read (see `fastgate.config.read.leaves`). The other marks: ``also`` (names that
other gateways use for the key, for suggestions), ``policy`` (``false`` switches a default off: it is read as ``off`` is
where the key's own default is not that), ``internal`` (filled in by
loading, never written), ``low`` (the least that may be written, where a filled-in value may be lower), ``show`` (the
default as it is written, where the value itself would mislead), ``single`` (a list of one may be written without its
brackets), ``on`` (what ``true`` is read as, for a key that is a table), ``text`` (the key of the table that a string in
its place is the value of).
"""

from typing import Annotated, Any

from msgspec import Meta

Duration = Annotated[float, Meta(ge=0, le=366 * 86400, extra={"kind": "duration"})]
"""Seconds, 0 or more; a year at most."""
Wait = Annotated[float, Meta(gt=0, le=366 * 86400, extra={"kind": "duration"})]
"""Seconds, more than 0; a year at most."""
Size = Annotated[int, Meta(ge=0, extra={"kind": "size"})]
"""Bytes."""
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
"""0 to 1."""
Secret = Annotated[str, Meta(extra={"kind": "secret"})]
"""Text, or a table that says where the text is."""

Text = Annotated[str, Meta(min_length=1, max_length=128, extra={"kind": "text"})]
Path = Annotated[str, Meta(extra={"kind": "path"})]
LogPath = Annotated[str, Meta(extra={"kind": "log path"})]
Mode = Annotated[int, Meta(ge=0, le=0o777, extra={"kind": "mode"})]
Listen = Annotated[str, Meta(extra={"kind": "listen address"})]
Network = Annotated[str, Meta(extra={"kind": "network"})]
TrustedPeer = Annotated[str, Meta(extra={"kind": "trusted peer"})]
HeaderName = Annotated[str, Meta(extra={"kind": "header name"})]
EditedHeader = Annotated[str, Meta(extra={"kind": "edited header"})]
AnswerHeader = Annotated[str, Meta(extra={"kind": "answer header"})]
FreeHeader = Annotated[str, Meta(extra={"kind": "free header"})]
"""A field name without a fixed meaning."""
SetHeader = Annotated[str, Meta(extra={"kind": "set header"})]
"""The same, or Host."""
HeaderValue = Annotated[str, Meta(extra={"kind": "header value"})]
HeaderTemplate = Annotated[str, Meta(extra={"kind": "header template"})]
HeaderCondition = Annotated[str, Meta(extra={"kind": "header condition"})]
QueryCondition = Annotated[str, Meta(extra={"kind": "query condition"})]
PathPattern = Annotated[str, Meta(extra={"kind": "path pattern"})]
HostPattern = Annotated[str, Meta(extra={"kind": "host pattern"})]
Method = Annotated[str, Meta(extra={"kind": "method"})]
PathPrefix = Annotated[str, Meta(extra={"kind": "path prefix"})]
PlainPath = Annotated[str, Meta(extra={"kind": "plain path"})]
Expression = Annotated[str, Meta(extra={"kind": "expression"})]
HostHeader = Annotated[str, Meta(extra={"kind": "host header"})]
Protocol = Annotated[str, Meta(extra={"kind": "upgrade protocol"})]
PluginClass = Annotated[str, Meta(extra={"kind": "plugin class"})]
ServerName = Annotated[str, Meta(extra={"kind": "server name"})]
LimitKey = Annotated[str, Meta(extra={"kind": "limit key"})]
"""What tells one client of a limit from another: see `fastgate.config.syntax.request_key.parse_limit_key`."""
LimitName = Annotated[str, Meta(min_length=1, max_length=64, extra={"kind": "limit name"})]
StickyKey = Annotated[str, Meta(extra={"kind": "sticky key"})]
Cause = Annotated[str, Meta(extra={"kind": "cause"})]
"""Why a try failed; `fastgate._core.delivery.retry.Judgement` reads the words."""
Status = Annotated[str, Meta(extra={"kind": "status"})]
"""A status or a class of them: see `fastgate.config.syntax.statuses.parse_statuses`."""
MediaRange = Annotated[str, Meta(extra={"kind": "media range"})]
"""A media type, one ``*`` in it standing for anything."""
RedirectTarget = Annotated[str, Meta(extra={"kind": "redirect target"})]
Resolver = Annotated[str, Meta(extra={"kind": "resolver"})]
ProbePath = Annotated[str, Meta(extra={"kind": "probe path"})]
ProbeHost = Annotated[str, Meta(extra={"kind": "probe host"})]
ProbeHeader = Annotated[str, Meta(extra={"kind": "probe header"})]
MediaType = Annotated[str, Meta(extra={"kind": "media type"})]
Origin = Annotated[str, Meta(extra={"kind": "origin"})]
"""An origin of CORS: see `fastgate.config.syntax.origins.check_origin`."""
HeaderSecret = Annotated[str, Meta(extra={"kind": "secret header value"})]
KeyHash = Annotated[str, Meta(extra={"kind": "key hash"})]
"""SHA-256 of a secret as 64 lower-case hexadecimal digits."""
Instant = Annotated[str, Meta(extra={"kind": "instant"})]
"""A point in time in UTC as RFC 3339 writes it; ``""`` is none. See `fastgate.config.syntax.units.parse_instant`."""
Day = Annotated[str, Meta(extra={"kind": "day"})]
"""A day of the calendar as RFC 3339 writes it, which begins in UTC. See `fastgate.config.syntax.units.parse_day`."""
QueryName = Annotated[str, Meta(max_length=128, extra={"kind": "query name"})]

SECRET_KINDS = ("secret", "header template", "secret header value")
"""Kinds of text that a table may stand for: ``{ env = "NAME" }`` or ``{ file = "path" }``."""


def about(description: str, *, examples: list[Any] | None = None, **extra: Any) -> Meta:
    """The description of a key, with its marks."""
    return Meta(description=description, examples=examples, extra=extra or None)
