"""The duties of the control plane: one file each, and one line each in `DUTIES`.

`fastgate.gateway.duties.contract` says what a duty is, CONTRIBUTING.md how to add one.
"""

from fastgate.gateway.duties.contract import Duty
from fastgate.gateway.duties.jwt import JwtDuty
from fastgate.gateway.duties.limits import LimitsDuty
from fastgate.gateway.duties.upstreams import UpstreamsDuty

DUTIES: tuple[type[Duty], ...] = (
    UpstreamsDuty,
    JwtDuty,
    LimitsDuty,
)
"""In the order in which they are updated."""
