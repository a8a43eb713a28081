"""Policies that the tests use."""

from fastgate import Policy, Response


class Stamp(Policy):
    """Marks every answer that passes it."""

    def on_response(self, request, response):
        response.headers.set("x-stamp", f"{response.status}")


class Replace(Policy):
    """Puts another answer in the place of the first."""

    async def on_response(self, request, response):
        return Response(203, "replaced")


class Deny(Policy):
    """Answers before the route does."""

    def on_request(self, request):
        return Response(403, "denied") if "x-deny" in request.headers else None


def plugin(kind: type[Policy]) -> dict[str, str]:
    """How the configuration names one."""
    return {"name": kind.__name__, "use": f"{__name__}:{kind.__name__}"}
