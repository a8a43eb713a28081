"""The whole configuration: its tables, and how to read one."""

from collections.abc import Mapping
from os import PathLike
from typing import Annotated, Any

from msgspec import field

from fastgate.config.schema.auth import Auth
from fastgate.config.schema.gateway import GatewayTable
from fastgate.config.schema.kinds import Text, about
from fastgate.config.schema.plugin_hooks import Plugin
from fastgate.config.schema.routes import Defaults, Route
from fastgate.config.schema.state import State
from fastgate.config.schema.table import Table
from fastgate.config.schema.upstreams import Upstream


class GatewayConfig(Table, frozen=True, kw_only=True):
    """A whole configuration."""

    gateway: Annotated[
        GatewayTable, about("The process and its limits.", also=["server", "http", "global", "listen"])
    ] = field(default_factory=GatewayTable)
    plugins: Annotated[list[Plugin], about("Policies of your own.", also=["policies", "filters"])] = field(
        default_factory=list
    )
    auth: Annotated[Auth, about("How the gateway finds out who asks.", also=["authentication"])] = Auth()
    defaults: Annotated[Defaults, about("For every route that does not set the key itself.")] = field(
        default_factory=Defaults
    )
    routes: Annotated[list[Route], about("Which requests go where.", also=["route", "locations"])] = field(
        default_factory=list
    )
    upstreams: Annotated[
        dict[Text, Upstream],
        about("The servers behind the gateway.", also=["upstream", "services", "clusters", "backends"]),
    ] = field(default_factory=dict)
    state: Annotated[State, about("Memory that all workers share.", also=["shared", "shared_memory"])] = field(
        default_factory=State
    )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, environ: Mapping[str, str] | None = None) -> "GatewayConfig":
        """The configuration that a plain dict describes. ``environ`` is used for references, default ``os.environ``.

        Raises `ConfigError` with every problem at once.
        """
        from fastgate.config.read.load import load_dict

        return load_dict(cls, data, environ)

    @classmethod
    def from_file(
        cls, path: str | PathLike[str], *, environ: Mapping[str, str] | None = None, allow_empty: bool = False
    ) -> "GatewayConfig":
        """The configuration in a TOML, JSON or YAML file, by its suffix. Relative paths in it start at its folder.

        Raises `ConfigError` with every problem at once, each with its line; also for a file without any table, unless
        ``allow_empty`` says that it is meant.
        """
        from fastgate.config.read.load import load_file

        return load_file(cls, path, environ, allow_empty=allow_empty)
