"""What a built-in policy is compiled of, and what it adds to a route: the one shape of every ``compile_…``."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from fastgate._core.auth.gate import Method
from fastgate._core.delivery.pool import Pool
from fastgate._core.delivery.tries import Changes
from fastgate._core.exchange.exchange import BodyFilter, BodyRule, Delivery, FinishMark, Gate, Hook, Problems, Stamp
from fastgate._core.exchange.worker import Engine
from fastgate._core.memory.plugin_times import PluginTimes
from fastgate.config import GatewayConfig, HeaderEdits
from fastgate.gateway.policy import Policy
from fastgate.state.store import Store

if TYPE_CHECKING:
    from fastgate._core.delivery.cache.worker_cache import WorkerCache


class RouteContext(NamedTuple):
    """What a policy of a route may be made of, beside the route itself. The same for every route."""

    config: GatewayConfig
    engine: Engine
    store: Store
    """Where limits are counted."""
    pools: Mapping[str, Pool]
    plugins: Mapping[str, Policy]
    plugin_times: Mapping[str, PluginTimes]
    """What the hooks of each plugin may take, and have taken."""
    auth: Mapping[str, Method]
    """The ways to find out who asks, by the names of their tables in ``[auth]``."""
    cache: "Callable[[], WorkerCache]"
    """Opens the response cache of this worker, when a route first asks for it; the same object after that."""


class Additions(Struct, frozen=True, kw_only=True):
    """What a policy adds to a compiled route.

    What is a sequence is put behind what the policies before it in the table have added; a flag holds as soon as one
    of them sets it; of the others each has one policy that adds it, but for edits of fields, see `over`.
    """

    gates: Sequence[Gate] = ()
    """Asked before the hooks of plugins."""
    on_request: Sequence[Hook | FinishMark] = ()
    """A mark is where the plugin with this ``on_finish`` stands."""
    on_response: Sequence[Hook] = ()
    on_error: Sequence[Hook] = ()
    read_request: bool = False
    """A hook reads the request body, or the first of it."""
    buffer_request: bool = False
    """The whole request body is read before the upstream is asked."""
    buffer_response: bool = False
    request_filters: Sequence[BodyFilter] = ()
    response_filters: Sequence[BodyRule] = ()
    edits: Sequence[Gate] = ()
    """Change what is sent, when nothing but that can refuse the request any more."""
    request_headers: HeaderEdits | None = None
    response_headers: HeaderEdits | None = None
    around: Sequence[Callable[[Delivery], Delivery]] = ()
    """Put a delivery around that of the route, which has an upstream; the first is the outermost."""
    within: Sequence[Callable[[Delivery, str | None], Delivery]] = ()
    """Put a delivery around the upstream, inside of what is ``around``; the first is the outermost. In a split each
    way gets its own, made with the name of its upstream; without a split there is no name.
    """
    changes: Changes | None = None
    """Hears of what the upstreams answer to other requests than GET."""
    stamps: Sequence[Stamp] = ()
    """Put fields on every answer, whoever made it."""
    answers_preflights: bool = False
    problems: Problems | None = None
    """The shape of the gateway's own errors on this route."""


def over(first: HeaderEdits, second: HeaderEdits) -> HeaderEdits:
    """Both edits together: of a field that the second sets, the first says nothing any more."""
    taken = {name.lower() for name in second.set}
    kept = {name: value for name, value in first.set.items() if name.lower() not in taken}
    added = {name: value for name, value in first.add.items() if name.lower() not in taken}
    removed = [*first.remove, *second.remove]
    return replace(first, set={**kept, **second.set}, add={**added, **second.add}, remove=removed)


def together(parts: Iterable[Additions]) -> Additions:
    """What several policies add, in their order."""
    made: dict[str, Any] = {}
    for part in parts:
        for name in Additions.__struct_fields__:
            value = getattr(part, name)
            if not value:
                continue
            known = made.get(name)
            if known is None or value is True:
                made[name] = value
            elif isinstance(value, HeaderEdits):
                made[name] = over(known, value)
            else:
                made[name] = [*known, *value]
    return Additions(**made)
