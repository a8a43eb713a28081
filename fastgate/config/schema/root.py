"""The outermost table."""

from typing import Annotated

from msgspec import field

from fastgate.config.schema.auth import Auth
from fastgate.config.schema.gateway import GatewayTable
from fastgate.config.schema.kinds import Text, about
from fastgate.config.schema.plugin_hooks import Plugin
from fastgate.config.schema.routes import Defaults, Route
from fastgate.config.schema.state import CacheTable, State
from fastgate.config.schema.table import Table
from fastgate.config.schema.upstreams import Upstream


class Root(Table, frozen=True, kw_only=True):
    """A whole configuration."""

    gateway: Annotated[
        GatewayTable, about("The process and its limits.", also=["server", "http", "global", "listen"])
    ] = field(default_factory=GatewayTable)
    plugins: Annotated[list[Plugin], about("Policies of your own.", also=["policies", "filters"])] = field(
        default_factory=list
    )
    auth: Annotated[Auth, about("The authentication methods.", also=["authentication"])] = Auth()
    defaults: Annotated[Defaults, about("Keys for every route that does not set them itself.")] = field(
        default_factory=Defaults
    )
    routes: Annotated[list[Route], about("Which requests go where.", also=["route", "locations"])] = field(
        default_factory=list
    )
    upstreams: Annotated[
        dict[Text, Upstream],
        about("The servers behind the gateway.", also=["upstream", "services", "clusters", "backends"]),
    ] = field(default_factory=dict)
    cache: Annotated[
        CacheTable, about("The memory of the response cache.", also=["response_cache", "proxy_cache", "caches"])
    ] = field(default_factory=CacheTable)
    state: Annotated[State, about("Memory that all workers share.", also=["shared", "shared_memory"])] = field(
        default_factory=State
    )
