"""A running gateway and the contract of its policies."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastgate.gateway.gateway import Gateway
    from fastgate.gateway.policy import ExchangeError, HealthChange, Outcome, Policy, Request, Response

__all__ = ["ExchangeError", "Gateway", "HealthChange", "Outcome", "Policy", "Request", "Response"]


def __getattr__(name: str) -> object:
    # A module that needs only listeners or the policy contract must not load the rest.
    if name == "Gateway":
        from fastgate.gateway.gateway import Gateway

        return Gateway
    if name in __all__:
        from fastgate.gateway import policy

        return getattr(policy, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
