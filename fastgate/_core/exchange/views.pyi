from collections.abc import Awaitable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar, overload

from fastgate._core.exchange.exchange import Answer, Exchange

T = TypeVar("T")

class Headers:
    """Header fields: names without case, values as str (latin-1), iteration in wire order.

    A field may occur several times. Fields that frame the message, name its host or end at this hop (``Host``,
    ``Content-Length``, ``Transfer-Encoding``, ``Connection``, …) are read-only; fields that the gateway removes are not
    visible. Every use raises RuntimeError after the exchange has ended. A name that is not a token raises ValueError,
    a name that is not a str TypeError.
    """

    def get_all(self, name: str) -> list[str]:
        """Every value of the field, in wire order; [] if there is none."""
    @overload
    def get(self, name: str) -> str | None:
        """The first value of the field, or ``default``."""
    @overload
    def get(self, name: str, default: T) -> str | T: ...
    def set(self, name: str, value: str) -> None:
        """Replaces every field of this name by one.

        Raises ValueError for a field that the gateway controls, and for a value with control characters or characters
        outside latin-1 (RFC 9110 section 5.5).
        """
    def add(self, name: str, value: str) -> None:
        """Appends one more field of this name. Raises as `set` does."""
    def remove(self, name: str) -> None:
        """Removes every field of this name, if there is any. Raises as `set` does."""
    def items(self) -> list[tuple[str, str]]:
        """(name, value) pairs in wire order, names as they were sent."""
    def __getitem__(self, name: str) -> str: ...
    def __setitem__(self, name: str, value: str) -> None: ...
    def __delitem__(self, name: str) -> None: ...
    def __contains__(self, name: object) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...

class Request:
    """The request of an exchange, as policies see it. Only the gateway makes it.

    It is valid until the exchange ends; afterwards every use raises RuntimeError.
    """

    def __init__(self, exchange: Exchange) -> None: ...
    @property
    def method(self) -> str:
        """As the client sent it: methods have case (RFC 9110 section 9.1)."""
    @property
    def scheme(self) -> Literal["http", "https"]:
        """How the client reached the gateway."""
    @property
    def host(self) -> str:
        """The requested host and port, as the client sent them; "" if an HTTP/1.0 client sent none."""
    @property
    def path(self) -> str:
        """The normalised path, percent-decoded, for people to read.

        Comparisons belong to `raw_path`: this one cannot tell "/" from "%2F".
        """
    @property
    def raw_path(self) -> str:
        """The normalised path, percent-encoded: what the router matched."""
    @property
    def query_string(self) -> str:
        """The query as it was sent, without "?"."""
    @property
    def query(self) -> Mapping[str, list[str]]:
        """Query parameters, decoded: name → values in order."""
    @property
    def headers(self) -> Headers:
        """The fields of the request; the upstream gets the changed fields."""
    @property
    def cookies(self) -> Mapping[str, str]:
        """Cookies: name → value. Malformed ones are left out, of several with one name the last counts."""
    @property
    def params(self) -> dict[str, str]:
        """Parameters of the route's path, percent-decoded."""
    @property
    def client_ip(self) -> str:
        """Address of the client: the last address that is not one of a trusted proxy; "" if the client is unknown.

        "unix:" behind a Unix socket.
        """
    @property
    def id(self) -> str:
        """The request id: a trusted proxy's own, else a new one."""
    @property
    def route(self) -> str:
        """Name of the route."""
    @property
    def identity(self) -> Any:
        """The identity of the client, from an authentication policy; None without one."""
    @identity.setter
    def identity(self, value: Any) -> None: ...
    @property
    def state(self) -> dict[Any, Any]:
        """A dict for plugins, the same one for the whole exchange."""
    @property
    def deadline(self) -> float | None:
        """When the exchange must be over, in seconds of ``time.monotonic()``; None without ``timeouts.total``."""
    def body(self) -> Awaitable[bytes]:
        """The request body. With ``body = "peek"`` at most its first 16 KB.

        Raises RuntimeError when no policy of the route declares that it reads request bodies.
        """
    def end(self) -> None:
        """The exchange has ended: from now on every use raises. The gateway calls this."""

class Response(Answer):
    """An answer of a policy: ``Response(403, "no", headers={"x-why": "…"})``.

    ``status`` is a final one, 200 to 599. ``body`` is bytes, or str, which is sent as UTF-8; ``json`` is any value that
    msgspec encodes. Content-Type follows from the kind of body unless ``headers`` name one; the gateway writes
    Content-Length. Raises ValueError for an invalid status or field.
    """

    def __init__(
        self,
        status: int = 200,
        body: bytes | bytearray | memoryview | str = b"",
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        json: Any = None,
    ) -> None: ...
    @property
    def status(self) -> int:
        """The status code. Setting it raises ValueError unless it is a final one, 200 to 599."""
    @status.setter
    def status(self, value: int) -> None: ...
    @property
    def headers(self) -> Headers:
        """The fields of the answer."""
    def body(self) -> bytes:
        """The body.

        For an upstream's response this works if a policy of the route declares ``body = "full"``; otherwise it
        raises RuntimeError.
        """
    def end(self) -> None:
        """The exchange has ended. An answer of a policy stays usable."""

class UpstreamResponse(Response):
    """The upstream's response, as ``on_response`` sees it: ``headers`` and ``status`` can be changed.

    It is valid until the exchange ends; afterwards every use raises RuntimeError.
    """

    def __init__(self, exchange: Exchange) -> None: ...
    @property
    def status(self) -> int:
        """The status code. Setting it raises RuntimeError once the response has been sent."""
    @status.setter
    def status(self, value: int) -> None: ...
    def body(self) -> bytes:
        """The body. Raises RuntimeError when no policy of the route declares ``body = "full"``."""
    def end(self) -> None:
        """The exchange has ended: from now on every use raises. The gateway calls this."""

class ExchangeError(Exception):
    """Why an exchange failed, for ``on_error``. ``__cause__`` is the exception of a policy that raised."""

    cause: str
    """The word that the access log uses."""
    status: int
    """The status that the client would get."""
    detail: str
    """The sentence that the client would get."""
    def __init__(self, cause: str, status: int, detail: str, exception: BaseException | None = None) -> None: ...
