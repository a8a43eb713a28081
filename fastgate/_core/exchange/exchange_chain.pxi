"""The one runner of policies: gates and hooks of a route, in their order, for any phase of an exchange.

Theory of operation. The chain of a route begins with compiled `Gate`s (the built-in policies) and ends with the hooks
of plugins. `run_hooks` begins; `advance` takes one step after the other inside the call that brought the request or the
response. Views for Python are made when the first hook in Python comes. A hook that returns an awaitable, or a gate
that waits for one (`wait_on`), ends that: a task waits (`wait_for`) and comes back to the same `advance` with the next
step. An answer ends the request side at once; on the response side it takes the place of the response. A `Refusal`
that is raised ends the exchange with its cause; anything else with 500, and is logged once, here. When the chain is
through, `Exchange.hooks_done` knows what comes next.

A hook of a plugin is a `Hook`: what to call, and the `PluginTimes` of its plugin. The clock is read before and after
the call; what waits is driven by `TimedAwaitable`, which reads it around every step.

A plugin with ``on_finish`` has a `FinishMark` in the chain, before its ``on_request``. An exchange knows the last one
that it came to, and `finish_hooks` goes back from there when it is over. A hook that waits then does so in a task
(`Afterwards`) that neither the client nor the connection knows of; the request can be read until the last of them is
done.
"""

cdef enum:
    PEEK = 16384               # bytes that a policy with body = "peek" gets to see
    AFTERWARDS = 1000          # what ``on_finish`` hooks of a worker wait for at a time
    AFTERWARDS_TIME = 30000    # milliseconds that it may take

# From `views`, which is loaded with the first plugin.
cdef object _Request = None
cdef object _Response = None
cdef object _UpstreamResponse = None
cdef object _ExchangeError = None
cdef object _Outcome = None        # from `outcome`, when an exchange with ``on_finish`` first ends


cdef class Hook:
    """One hook of a plugin in the chain of a route."""

    def __init__(self, call, PluginTimes meter=None):
        self.call = call
        self.meter = meter

    cdef uint64_t begin(self, Exchange x) except? 0:
        """It is called next, and may take its time: no answer waits for it. When that was; 0: it is not measured."""
        outbox_of(x.engine).send_all()
        return clock_us() if self.meter is not None else 0

    cdef int ran(self, Exchange x, uint64_t began) except -1:
        """It is done, without having waited."""
        cdef uint64_t now = clock_us()
        self.meter.ran(now - began)
        return self.stretch(x, now - began, now)

    cdef int stretch(self, Exchange x, uint64_t running, uint64_t now) except -1:
        """It kept the event loop for so long."""
        if self.meter.budget and running > self.meter.budget:
            name = getattr(self.call, "__name__", None) or type(self.call).__name__
            self.meter.held(x.engine.log, name, x.route.name, running, now)
        return 0

    def __repr__(self):
        return f"<Hook {getattr(self.call, '__qualname__', self.call)}>"


cdef class TimedAwaitable:
    """What a hook returned to wait for, driven step by step to see how long each keeps the event loop."""

    def __cinit__(self, Hook hook, Exchange x, awaitable, began):
        self.hook = hook
        self.x = x
        self.awaitable = awaitable
        self.began = began
        self.running = clock_us() - self.began
        hook.stretch(x, self.running, self.began + self.running)

    def __await__(self):
        self.steps = self.awaitable.__await__()
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.step(None)

    def send(self, value):
        return self.step(value)

    def throw(self, *error):
        cdef uint64_t began = clock_us()
        try:
            if not hasattr(self.steps, "throw"):  # an iterator that is no generator
                raise error[0]
            thrown = self.steps.throw(*error)
        except BaseException:
            self.pause(began, True)
            raise
        self.pause(began, False)
        return thrown

    def close(self):
        close = getattr(self.awaitable if self.steps is None else self.steps, "close", None)
        if close is not None:
            close()

    cdef object step(self, object value):
        cdef uint64_t began = clock_us()
        try:
            awaited = next(self.steps) if value is None else self.steps.send(value)
        except GeneratorExit as error:
            self.pause(began, True)
            raise RuntimeError("the policy raised GeneratorExit") from error
        except BaseException:
            self.pause(began, True)
            raise
        self.pause(began, False)
        return awaited

    cdef int pause(self, uint64_t began, bint last) except -1:
        """The end of a stretch, and perhaps of the hook."""
        cdef uint64_t now = clock_us()
        self.running += now - began
        if last:
            self.hook.meter.waited(self.running, now - self.began - self.running)
        return self.hook.stretch(self.x, now - began, now)


cdef class FinishMark(Gate):
    """The place of a plugin with ``on_finish`` in the chain of a route."""

    def __init__(self, Hook hook not None):
        self.hook = hook

    cdef int enter(self, Exchange x) except -1:
        x.finish_from = x.step
        return PASSED


cdef int run_hooks(Exchange x, tuple hooks, int phase) except -1:
    x.hooks = hooks
    x.step = 0
    x.phase = phase
    if phase != PHASE_REQUEST:
        prepare_views(x)
    return advance(x)


def use_views(request, response, upstream_response, error):
    """What hooks see, told by the module that has it, which knows this one."""
    global _Request, _Response, _UpstreamResponse, _ExchangeError
    _Request = request
    _Response = response
    _UpstreamResponse = upstream_response
    _ExchangeError = error


cdef int prepare_request_view(Exchange x) except -1:
    if _Request is None:
        raise RuntimeError("import fastgate._core.exchange.views before the first hook runs")
    if x.request_view is None:
        x.request_view = _Request(x)
    return 0


cdef int prepare_views(Exchange x) except -1:
    """What hooks in Python see of this phase."""
    prepare_request_view(x)
    if x.phase == PHASE_RESPONSE and x.answer is None:
        x.response_view = _UpstreamResponse(x)
    elif x.phase == PHASE_RESPONSE and not isinstance(x.answer, _Response):
        # That of the route: policies see it like one of their own.
        view = _Response(x.answer.code, x.answer.content)
        (<Answer>view).fields = x.answer.fields
        x.answer = x.response_view = view
    elif x.phase == PHASE_ERROR:
        x.error = _ExchangeError(
            reason_of(x.cause), outcomes[x.cause].status, refusal_sentence(x, x.cause), x.error
        )
    return 0


cdef int advance(Exchange x) except -1:
    """The one runner of policies: on until a hook answers, waits or there are no more."""
    cdef object step, result
    cdef Hook hook
    cdef uint64_t began
    cdef uint64_t generation = x.generation
    while x.step < len(x.hooks):
        step = x.hooks[x.step]
        x.step += 1
        if isinstance(step, Gate):
            if (<Gate>step).enter(x) == PASSED:
                continue
            return 0
        if x.request_view is None:
            prepare_views(x)
        hook = <Hook?>step
        began = hook.begin(x)
        try:
            if x.phase == PHASE_REQUEST:
                result = hook.call(x.request_view)
            elif x.phase == PHASE_RESPONSE:
                result = hook.call(x.request_view, x.response_view)
            else:
                result = hook.call(x.request_view, x.error)
        except BaseException as error:  # CancelledError, SystemExit and KeyboardInterrupt among them
            if hook.meter is not None:
                hook.ran(x, began)
            return policy_failed(x, error)
        if result is None or isinstance(result, Answer) or not hasattr(result, "__await__"):
            if hook.meter is not None:
                hook.ran(x, began)
            if x.generation != generation:
                return 0
            if result is not None and took(x, result):
                return 0
        elif x.generation != generation:
            return 0
        else:
            return wait_on(x, result if hook.meter is None else TimedAwaitable(hook, x, result, began))
    return x.hooks_done()


cdef int wait_on(Exchange x, object awaitable) except -1:
    """A task waits, and goes on with the next step: for a hook or a gate that was not done at once."""
    x.stop_waiting()
    x.awaited = True
    x.task = spawn_policy(x.engine, wait_for(x, x.generation, awaitable))
    x.task.add_done_callback(partial(let_go, awaitable))
    return 0


def let_go(awaitable, task):
    """A task that was cancelled before its first step has not even begun to wait."""
    if task.cancelled():
        close_unawaited(awaitable)


async def wait_for(Exchange x, uint64_t generation, awaitable):
    """The rest of `advance` for a hook or a gate that was not done at once.

    Where the generation has moved on, the exchange waits for something else by now, is over or serves another request:
    what the awaitable says comes too late.
    """
    cdef object result = None
    cdef object error = None
    try:
        result = await awaitable
    except CancelledError:
        if x.generation != generation:
            raise
        error = RuntimeError("the policy was cancelled")
    except GeneratorExit:
        raise
    except BaseException as raised:
        error = raised
    if x.generation != generation:
        return
    x.task = None
    try:
        if error is not None:
            policy_failed(x, error)
            return
        x.awaited = False
        if result is None or not took(x, result):
            advance(x)
    except Exception as raised:
        if x.generation != generation:
            raise
        policy_failed(x, raised)


cdef int took(Exchange x, object result) except -1:
    """Deals with what a hook returned. 1: the hooks are done with; 0: on to the next."""
    if not isinstance(result, Answer):
        kind = type(result).__name__
        policy_failed(x, TypeError(f"a policy must return None, a Response or an awaitable, not {kind}"))
        return 1
    if x.phase == PHASE_REQUEST:
        x.respond(<Answer>result, POLICY_ANSWERED)
        return 1
    if x.phase == PHASE_RESPONSE:
        if result is not x.response_view:
            # A copy, which the hooks that follow may change.
            x.answer = copy_of_answer(<Answer>result)
            prepare_views(x)
        return 0
    x.hooks = ()
    x.respond(with_refusal(x, x.cause, <Answer>result), x.cause)
    return 1


# -- the request body

cdef int wake_body(Exchange x) except -1:
    """Gives the policy that waits for the body what it asked for, once that is there."""
    if not x.request_complete and (x.body_wanted < 0 or x.body_kept < x.body_wanted):
        return 0
    waiter = x.body_waiter
    x.body_waiter = None
    if not waiter.done():
        waiter.set_result(None)
    return 0


cdef object body_of(Exchange x, bint whole):
    """Awaitable: the request body, or its first `PEEK` bytes."""
    return read_body(x, whole)


async def read_body(Exchange x, bint whole):
    cdef bytes body
    if x.over:
        raise RuntimeError("the exchange is over; its body can only be read until then")
    if not x.request_complete and (whole or x.body_kept < PEEK):
        if x.body_waiter is None:
            x.body_waiter = x.engine.loop.create_future()
            x.body_wanted = -1 if whole else PEEK
            if x.expects_continue:
                x.client.send_continue(x)
        await x.body_waiter
    body = b"".join(x.body) if x.body is not None else b""
    x.body = [body] if body else None
    return body if whole else body[:PEEK]


# -- policies that fail

cdef int policy_failed(Exchange x, object error) except -1:
    """A policy raised: logged here, once, and the client gets 500. A `Refusal` is what it says."""
    cdef object step
    cdef str hook
    if isinstance(error, Refusal):
        return refuse_for(x, error)
    step = x.hooks[x.step - 1] if x.step else None
    hook = name_of(<Hook>step) if isinstance(step, Hook) else type(step).__name__
    log_failure(x, hook, error)
    x.error = error
    if x.phase == PHASE_ERROR:
        x.hooks = ()
        return x.answer_problem(POLICY_FAILED)
    return x.refuse(POLICY_FAILED)


cdef str name_of(Hook hook):
    return getattr(hook.call, "__qualname__", "?")


cdef int log_failure(Exchange x, str hook, object error) except -1:
    x.engine.slab.policy_errors += 1
    text = f"policy {hook} on route {x.route.name!r} raised {type(error).__name__}: {error}"
    x.engine.log("error", text, exception=error)
    return 0


cdef int refuse_for(Exchange x, object refusal) except -1:
    """Ends the exchange as a `Refusal` says."""
    if refusal.answer is not None:
        return x.respond(refusal.answer, refusal.cause)
    x.refusal_of = refusal.cause
    x.refusal_fields = refusal.fields or None
    x.refusal_detail = refusal.detail or None
    x.refused_for = refusal.retry_after
    return x.refuse(refusal.cause)


# -- the end of an exchange

cdef bint finish_hooks(Exchange x) except -1:
    """Tells the plugins that its request came to, the last first, whatever one of them raises. Whether some wait."""
    cdef Afterwards afterwards = None
    cdef object outcome = outcome_of(x)
    cdef object step, result
    cdef uint64_t began
    cdef Hook hook
    prepare_request_view(x)
    for step in reversed(x.route.on_request[:x.finish_from]):
        if not isinstance(step, FinishMark):
            continue
        hook = (<FinishMark>step).hook
        began = hook.begin(x)
        try:
            result = hook.call(x.request_view, outcome)
        except BaseException as error:
            if hook.meter is not None:
                hook.ran(x, began)
            log_failure(x, name_of(hook), error)
            continue
        if hasattr(result, "__await__"):
            if afterwards is None:
                afterwards = Afterwards.__new__(Afterwards)
            afterwards.add(x, hook, result if hook.meter is None else TimedAwaitable(hook, x, result, began))
            continue
        if hook.meter is not None:
            hook.ran(x, began)
        if result is not None:
            log_failure(x, name_of(hook), wrong_result(result))
    return afterwards is not None and afterwards.tasks is not None


cdef object outcome_of(Exchange x):
    global _Outcome
    if _Outcome is None:
        from fastgate._core.exchange.outcome import Outcome
        _Outcome = Outcome
    return _Outcome(
        x.status or outcomes[x.cause].status,
        reason_of(x.cause),
        x.body_bytes,
        x.bytes_out,
        x.target_name,
        x.tries,
        seconds_between(x.started, x.head_at),
        seconds_between(x.head_at, x.forwarded_at),
        seconds_between(x.forwarded_at, x.connected_at),
        seconds_between(x.connected_at, x.response_at),
        seconds_between(x.response_at, x.ended),
        seconds_between(x.started, x.ended),
    )


cdef object seconds_between(uint64_t begin, uint64_t end):
    """None where one of the two, in microseconds, never came."""
    return None if begin == 0 or end < begin else (end - begin) / 1e6


cdef object wrong_result(object result):
    return TypeError(f"on_finish must return None or an awaitable of it, not {type(result).__name__}")


cdef int end_views(Exchange x) except -1:
    """From now on what plugins have kept raises."""
    if x.request_view is not None:
        x.request_view.end()
    if x.response_view is not None:
        x.response_view.end()
    x.request_view = x.response_view = None
    x.client = None
    return 0


cdef class Afterwards(Timed):
    """What ``on_finish`` hooks wait for when their exchange is over, each in a task; the engine knows these too.

    When the last is done, or cancelled for want of time, the views of the exchange end.
    """
    cdef Exchange x
    cdef set tasks                     # None: there was none
    cdef bint late

    cdef int add(self, Exchange x, Hook hook, object awaitable) except -1:
        cdef set under_way = x.engine.afterwards
        if x.engine.stopped or len(under_way) >= AFTERWARDS:
            close_unawaited(awaitable)
            x.engine.slab.policy_errors += 1
            text = f"policy {name_of(hook)} was cancelled: {len(under_way)} on_finish hooks of this worker still wait"
            return x.engine.say_full("on_finish", text)
        if self.tasks is None:
            self.x = x
            self.tasks = set()
            x.engine.wheel.arm(self, AFTERWARDS_TIME)
        task = spawn_policy(x.engine, error_of(awaitable))
        self.tasks.add(task)
        under_way.add(task)
        task.add_done_callback(partial(self.done, hook, awaitable))
        return 0

    def done(self, Hook hook, awaitable, task):
        """A task has ended."""
        cdef Exchange x = self.x
        x.engine.afterwards.discard(task)
        self.tasks.discard(task)
        if task.cancelled():
            close_unawaited(awaitable)
            reason = f"after {AFTERWARDS_TIME // 1000} seconds" if self.late else "before it was done"
            error = TimeoutError(f"on_finish was cancelled {reason}")
        else:
            error = task.result()
        try:
            if error is not None:
                log_failure(x, name_of(hook), error)
        finally:
            if not self.tasks:
                self.due = 0
                end_views(x)

    cdef int expired(self) except -1:
        self.late = True
        for task in list(self.tasks):
            task.cancel()
        return 0


cdef int close_unawaited(object awaitable) except -1:
    """Of one that nothing has begun to wait for."""
    if iscoroutine(awaitable) or isinstance(awaitable, TimedAwaitable):
        awaitable.close()
    return 0


async def error_of(awaitable):
    """Waits, and gives what was raised meanwhile; None: nothing."""
    try:
        result = await awaitable
    except (CancelledError, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit and KeyboardInterrupt would end the worker
        return error
    return None if result is None else wrong_result(result)
