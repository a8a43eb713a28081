"""The key ``mirror`` of a route."""

from typing import Annotated

from fastgate.config.schema.kinds import Share, Text, Wait, about
from fastgate.config.schema.table import Table


class Mirror(Table, frozen=True, kw_only=True):
    """Copies of requests for another upstream. The gateway drops the answers, and no client waits for them."""

    upstream: Annotated[Text, about("The name of the upstream.", examples=["shadow"], also=["name", "backend", "to"])]
    sample: Annotated[
        Share, about("Share of the requests that is copied.", examples=[0.1], also=["percent", "fraction", "rate"])
    ] = 1.0
    timeout: Annotated[Wait, about("The longest time for a copy, from its start to the end of its answer.")] = 60.0
