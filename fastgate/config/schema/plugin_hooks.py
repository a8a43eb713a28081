"""The keys of ``[[plugins]]``, and the key ``policies`` of a route."""

from typing import Annotated, Any

from msgspec import field

from fastgate.config.schema.kinds import Duration, PluginClass, Text, about
from fastgate.config.schema.table import Table


class Plugin(Table, frozen=True, kw_only=True):
    """A policy of your own. Routes use it by its name."""

    name: Annotated[Text, about("The name by which routes use the plugin.", examples=["tenant"])]
    use: Annotated[
        PluginClass,
        about(
            'The class, as `"module:Class"`. Absent: the installed plugin of that name (entry-point group '
            "`fastgate.policies`).",
            examples=["mypackage.tenant:TenantPolicy"],
            also=["class", "module", "import", "path"],
        ),
    ] = ""
    options: Annotated[
        dict[str, Any],
        about(
            "The options that the class gets; the class checks them.",
            examples=[{"header": "x-tenant"}],
            also=["config", "settings"],
        ),
    ] = field(default_factory=dict)
    budget: Annotated[
        Duration,
        about(
            "The longest time that a hook may block the event loop; the log warns of longer times. 0 means no limit.",
            examples=["5ms"],
            also=["time_budget", "max_duration", "deadline"],
        ),
    ] = 0.05


class PolicyUse(Table, frozen=True, kw_only=True):
    """One plugin on a route."""

    use: Annotated[Text, about("The name of a plugin.", examples=["tenant"], also=["name", "plugin", "policy"])]


PoliciesKey = Annotated[
    list[PolicyUse],
    about(
        "Plugins on this route, in the order in which they run.",
        examples=[[{"use": "tenant"}]],
        policy=True,
        also=["plugins", "filters", "middlewares", "middleware"],
    ),
]
