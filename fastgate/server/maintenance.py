"""Maintenance that operators switch while the gateway runs: kept by the supervisor, and part of each reload.

What is switched by hand goes before what the configuration says. It is applied to the configuration before that goes to
the workers, so that a switch is a reload: all workers or none, exact to the request, and free for those that are not
concerned. It outlives workers and reloads, and is forgotten when the gateway ends.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct, structs

from fastgate.config import GatewayConfig, Maintenance, Route
from fastgate.server.results import MaintenanceState


class Switch(Struct, frozen=True):
    """What an operator has said of a route. ``retry_after`` is seconds; None leaves the configured one."""

    on: bool
    retry_after: float | None = None


class Switches(Struct, frozen=True):
    """What operators have switched: every route, and single ones, whose switch goes before that."""

    every: Switch | None = None
    routes: dict[str, Switch] = {}

    def on(self, names: Iterable[str], retry_after: float | None) -> "Switches":
        """These routes are closed, or every one where none is named."""
        switch = Switch(True, retry_after)
        named = dict.fromkeys(names, switch)
        return Switches(self.every, {**self.routes, **named}) if named else Switches(switch)

    def off(self, names: Iterable[str], config: GatewayConfig) -> "Switches":
        """These routes are open, or every one where none is named; also where the configuration says otherwise.

        It is not remembered where it changes nothing: a route that is closed in the file later on is to be closed.
        """
        closed = {route.name for route in config.routes if route.maintenance is not None and route.maintenance.enabled}
        named = list(names)
        if not named:
            return Switches(None, dict.fromkeys(closed, Switch(False)))
        routes = {name: switch for name, switch in self.routes.items() if name not in named}
        if self.every is not None:
            closed.update(named)
        return Switches(self.every, {**routes, **{name: Switch(False) for name in named if name in closed}})

    def reset(self, names: Iterable[str]) -> "Switches":
        """For these routes the configuration counts again, or for every one where none is named."""
        named = set(names)
        if not named:
            return Switches()
        return Switches(self.every, {name: switch for name, switch in self.routes.items() if name not in named})

    def without_unknown_routes(self, config: GatewayConfig) -> "Switches":
        """Without what was said of routes that are gone."""
        known = {route.name for route in config.routes}
        return Switches(self.every, {name: switch for name, switch in self.routes.items() if name in known})

    def applied(self, config: GatewayConfig) -> GatewayConfig:
        """The configuration with what was switched."""
        if self.every is None and not self.routes:
            return config
        return structs.replace(config, routes=[self._applied_to(route) for route in config.routes])

    def _applied_to(self, route: Route) -> Route:
        switch = self.routes.get(route.name, self.every)
        if switch is None:
            return route
        now = route.maintenance or Maintenance()
        now = structs.replace(now, enabled=switch.on, retry_after=switch.retry_after or now.retry_after)
        return structs.replace(route, maintenance=now)

    def state(self, config: GatewayConfig) -> MaintenanceState:
        """For operators: which routes of the configuration in use are closed, and what was switched by hand."""
        closed = [route.name for route in config.routes if route.maintenance is not None and route.maintenance.enabled]
        switched = {name: "on" if switch.on else "off" for name, switch in self.routes.items()}
        return MaintenanceState(closed=closed, every=self.every is not None, switched=switched)


Change = Callable[[Switches, GatewayConfig], Switches]
"""From what is switched and the configuration as it is written to what is to be switched."""


def change_of(action: str, names: list[str], retry_after: float | None) -> Change:
    """What ``fastgate maintenance`` asks for. KeyError for another action."""
    changes: dict[str, Change] = {
        "on": lambda switches, _: switches.on(names, retry_after),
        "off": lambda switches, config: switches.off(names, config),
        "reset": lambda switches, _: switches.reset(names),
    }
    return changes[action]
