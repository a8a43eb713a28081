"""The plugins of a route: the hooks that each of them defines, bound to the route."""

from collections.abc import Iterable

from fastgate._core.exchange.exchange import FinishMark, Hook
from fastgate._core.exchange.filters import HookFilter, HookRule
from fastgate._core.memory.plugin_times import PluginTimes
from fastgate.config import Route
from fastgate.gateway.additions import Additions, RouteContext
from fastgate.gateway.policy import Policy, defines


def compile_plugin_hooks(route: Route, context: RouteContext) -> Additions | None:
    """Their hooks, in the order of the route on the way there, and in the reverse on the way back; None for none."""
    if not route.policies:
        return None
    used = [(context.plugin_times[each.use], context.plugins[each.use]) for each in route.policies]
    with_request = [plugin for _, plugin in used if defines(plugin, "on_request")]
    with_response = [plugin for _, plugin in used if defines(plugin, "on_response")]
    back = used[::-1]
    return Additions(
        on_request=_request_chain(used),
        on_response=_hooks(back, "on_response"),
        on_error=_hooks(back, "on_error"),
        read_request=any(plugin.body != "none" for plugin in with_request),
        buffer_request=any(plugin.body == "full" for plugin in with_request),
        buffer_response=any(plugin.body == "full" for plugin in with_response),
        request_filters=[HookFilter(hook, of_request=True) for hook in _hooks(used, "on_request_body")],
        response_filters=[HookRule(hook) for hook in _hooks(back, "on_response_body")],
    )


def _request_chain(used: Iterable[tuple[PluginTimes, Policy]]) -> list[Hook | FinishMark]:
    """Before a plugin's ``on_request``, or in its place, a mark for its ``on_finish``."""
    chain: list[Hook | FinishMark] = []
    for each in used:
        chain += [FinishMark(hook) for hook in _hooks([each], "on_finish")]
        chain += _hooks([each], "on_request")
    return chain


def _hooks(used: Iterable[tuple[PluginTimes, Policy]], hook: str) -> list[Hook]:
    return [Hook(getattr(plugin, hook), meter) for meter, plugin in used if defines(plugin, hook)]
