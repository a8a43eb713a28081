"""The duty of JSON Web Tokens: fetches the sets of keys that issuers publish, once for a host.

A worker whose token names a key that is not in the set asks for it (`_Wanted`). It is answered with `_News`, alone,
when all was done that can be; a set that was fetched meanwhile was told to all workers before.
"""

import time
from typing import TYPE_CHECKING

from msgspec import Struct, msgpack

from fastgate.config import GatewayConfig
from fastgate.gateway.duties.contract import Duty, DutyContext, Send, Subscriber, WorkerLink
from fastgate.policies.jwt.key_sets import KeySets

if TYPE_CHECKING:
    from fastgate.policies.jwt.fetching import KeySetControl

_UNKNOWN_QUIET = 1.0  # seconds until a worker may ask again about a URL that the configuration does not have


class _News(Struct):
    """To workers, by URL: the sets of keys that are published, and until when asking again is of no use.

    The latter is in seconds on the host's monotonic clock, and is the answer to `_Wanted`.
    """

    documents: dict[str, bytes] = {}
    quiet_until: dict[str, float] = {}


class _Wanted(Struct):
    """From a worker: a token names a key that is not in the set at this URL ("": it names none, and none fits)."""

    url: str
    kid: str


_encode = msgpack.Encoder().encode
_decode_news = msgpack.Decoder(_News).decode
_decode_wanted = msgpack.Decoder(_Wanted).decode


class PublishedKeys(Subscriber):
    """The published sets of keys, as a worker is told: ``key_sets``."""

    def __init__(self, ask: Send) -> None:
        super().__init__(ask)
        self.key_sets = KeySets({}, lambda url, kid: ask(_encode(_Wanted(url, kid))))

    def told(self, data: bytes) -> None:
        """Sets first: whoever waits for the answer looks into them."""
        news = _decode_news(data)
        for url, document in news.documents.items():
            self.key_sets.fetched(url, document)
        for url, quiet_until in news.quiet_until.items():
            self.key_sets.settled(url, quiet_until)


class JwtDuty(Duty):
    """Runs `KeySetControl` from the first configuration on that has ``[auth.jwt]``."""

    topic = "jwt"
    subscriber = PublishedKeys

    def __init__(self, context: DutyContext) -> None:
        super().__init__(context)
        self._control: KeySetControl | None = None

    def snapshot(self) -> bytes:
        """The sets that were fetched so far."""
        documents = self._control.documents if self._control is not None else {}
        return _encode(_News(documents)) if documents else b""

    def update(self, config: GatewayConfig) -> None:
        """Makes these the sets that are fetched."""
        if self._control is None and config.auth.jwt is not None:
            from fastgate.policies.jwt.fetching import KeySetControl  # on use: it loads libraries

            self._control = KeySetControl(lambda url, document: self.context.tell(_encode(_News({url: document}))))
        if self._control is not None:
            self._control.update(config)

    def asked(self, worker: WorkerLink, data: bytes) -> None:
        """Has a key looked for."""
        wanted = _decode_wanted(data)

        def settled(url: str, quiet_until: float) -> None:
            worker.tell(_encode(_News({}, {url: quiet_until})))

        if self._control is None:
            settled(wanted.url, time.monotonic() + _UNKNOWN_QUIET)
        else:
            self._control.want(wanted.url, wanted.kid, settled)

    async def stop(self) -> None:
        """Ends all fetches."""
        if self._control is not None:
            await self._control.stop()
