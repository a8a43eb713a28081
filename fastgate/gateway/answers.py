"""Answers of a route's own: ``respond``, ``redirect``, and what a policy gives in the place of another."""

from fastgate._core.delivery.fixed import Fixed
from fastgate.config import Respond, Route
from fastgate.gateway.templates import compile_value


def compile_answer(route: Route) -> Fixed | None:
    """What a route answers by itself; None where it has an upstream."""
    if route.redirect is not None:
        fields = [("Location", compile_value(route.redirect.to))]
        return Fixed(status=route.redirect.status, fields=fields, keeps_query=True)
    if route.respond is not None:
        return fixed_answer(route.respond)
    return None


def fixed_answer(answer: Respond) -> Fixed:
    """One that the configuration has written down."""
    content = answer.body.encode()
    given = [(name, value.encode("latin-1")) for name, value in answer.headers.items()]
    if content and "content-type" not in {name.lower() for name, _ in given}:
        given.append(("Content-Type", b"text/plain; charset=utf-8"))
    return Fixed(status=answer.status, fields=given, content=content)
