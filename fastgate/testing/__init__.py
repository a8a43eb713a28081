"""The test kit for policies and gateways: clients and upstreams that can send any bytes, valid HTTP or not.

For policies: :func:`run` gives a gateway with a policy class on its route, a client and the upstream behind it;
:func:`playbook` lists the messages that arrive and the reactions that it expects, without a socket; :class:`FakeClock`
is the clock of a policy that uses one.

:func:`gateway_to` runs a gateway in the test's own event loop. :class:`RecordingUpstream` is the upstream behind it and
records its requests; :class:`RawClient` is a client that sends any bytes; :class:`FaultProxy`
breaks connections between any two. All work with any asyncio event loop, on free ports of the loopback interface.
"""

from fastgate.testing.client import RawClient
from fastgate.testing.clock import FakeClock
from fastgate.testing.compose import Headers, compose_request, compose_response
from fastgate.testing.fault_proxy import Direction, FaultProxy
from fastgate.testing.gateway import gateway_to, proxy_config, start_gateway
from fastgate.testing.http_messages import CutShort, Fields, Malformed, MessageReader, RecordedRequest, RecordedResponse
from fastgate.testing.play import Play, playbook
from fastgate.testing.policies import PolicyGateway, make_policy, run
from fastgate.testing.steps import (
    EventStream,
    close,
    echo,
    echo_stream,
    half_close,
    pause,
    pieces,
    read_body,
    read_slowly,
    reflect,
    reset,
    respond,
    stall,
    wait_for,
)
from fastgate.testing.upstream import Answer, RecordingUpstream, Step, UpstreamConnection, UpstreamExchange
from fastgate.testing.wire import Address, Wire, connect, listen

__all__ = [
    "Address",
    "Answer",
    "CutShort",
    "Direction",
    "EventStream",
    "FakeClock",
    "FaultProxy",
    "Fields",
    "Headers",
    "Malformed",
    "MessageReader",
    "Play",
    "PolicyGateway",
    "RawClient",
    "RecordedRequest",
    "RecordedResponse",
    "RecordingUpstream",
    "Step",
    "UpstreamConnection",
    "UpstreamExchange",
    "Wire",
    "close",
    "compose_request",
    "compose_response",
    "connect",
    "echo",
    "echo_stream",
    "gateway_to",
    "half_close",
    "listen",
    "make_policy",
    "pause",
    "pieces",
    "playbook",
    "proxy_config",
    "read_body",
    "read_slowly",
    "reflect",
    "reset",
    "respond",
    "run",
    "stall",
    "start_gateway",
    "wait_for",
]
