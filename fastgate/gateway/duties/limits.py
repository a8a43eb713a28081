"""The duty of limits: says in the log when their memory is full. Workers are told nothing."""

from fastgate.gateway.duties.contract import Duty, DutyContext


class LimitsDuty(Duty):
    """Runs `LimitWatch`."""

    topic = "limits"

    def __init__(self, context: DutyContext) -> None:
        super().__init__(context)
        from fastgate.state.limit_watch import LimitWatch  # on use: workers load this file too

        context.start_task(LimitWatch(context.segment).run())
