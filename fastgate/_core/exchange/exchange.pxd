from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastgate._core.exchange.worker cimport Engine, Part
from fastgate._core.memory.buffer cimport Buffer
from fastgate._core.exchange.head cimport Head
from fastgate._core.exchange.route cimport Route, Runtime
from fastgate._core.memory.plugin_times cimport PluginTimes
from fastgate._core.routing.router cimport Entry, Found
from fastgate._core.exchange.timers cimport Timed


cdef enum Hold:
    """Why an endpoint is not read: each reason is set and taken away by one place."""
    HOLD_SINK = 1                      # the other side takes no more
    HOLD_WAIT = 2                      # nobody can take it yet: policies, connecting, buffering
    HOLD_PIPELINE = 4                  # later requests wait for this one


cdef enum Waiting:
    """What a client's connection waits for, on which nothing is under way: of which kind it is when some give way."""
    WAITS_FOR_NOTHING = 0              # something is under way
    WAITS_FOR_REQUEST = 1              # idle, or answered and lingering
    WAITS_FOR_HEAD = 2                 # of a request that has begun


cdef enum:
    FLUSH_TIME = 10000                 # milliseconds that a closing connection may go without a byte taken
    RATE_SPAN = 10000                  # milliseconds over which a peer's rate is averaged
    WRITE_TIME = 60000                 # milliseconds without a byte taken, where no route says it
    ASK_EVERY = 1000                   # milliseconds between looks at a connection that is not read or takes no more
    SLICE = 65536                      # bytes of a body that a slow filter takes in a turn, or that are copied at once
    DEFERRED = 16384                   # bytes that may wait for the end of a turn of the loop
    TOGETHER = 32                      # sides whose bytes are sent together


cdef class Source(Timed):
    """Where the bytes of a body come from: a connection, a stored answer, a generator.

    `hold` stops it for a reason, `release` takes that reason away; it goes on when none is left. What is held is the
    body of one exchange: where a connection carries several, the others go on.

    One whose bytes lie ``in_memory`` shows those that are next by `ready`: the client's side takes them from there and
    says how many by `took`. After that the memory may change.
    """
    cdef unsigned char full_duplex     # an answer that begins early does not end the request
    cdef unsigned char in_memory

    cdef int hold(self, int reason) except -1
    cdef int release(self, int reason) except -1
    cdef Py_ssize_t ready(self, const char** at) noexcept
    cdef int took(self, Py_ssize_t count) except -1


cdef class Peer:
    """Who is at the other end of a client's connection: one for a connection, shared by all that it carries."""
    cdef bytes address                 # in its normal form; "unix:" behind a Unix socket
    cdef bytes scheme                  # "http" or "https"
    cdef int local_port                # 0: there is none
    cdef bint trusted                  # its X-Forwarded-* and Forwarded are believed
    cdef object trusted_by             # what said so: `Runtime.trusted`
    cdef bytes server_name             # from the TLS handshake; None = none
    cdef object tls                    # the ssl.SSLObject; None: no TLS
    cdef object certificate            # what authentication made of the client's; None = nobody has asked
    cdef bint withdrawn                # a reload took away the authority that the client's certificate was verified by
    cdef bint gone                     # the connection is lost
    cdef list reserved                 # connections to upstreams that this client has authenticated; None = none

    cdef int identify(self, object transport, object listener, object trusted) except -1
    cdef int leave(self) except -1


cdef class Side(Source):
    """One end of an exchange. What is about a transport is that of its own connection; a wire whose connection carries
    many exchanges has sides without one, and its own ways to do what these methods say.
    """
    cdef Engine engine
    cdef readonly object transport     # None: it has none of its own, or no more
    cdef Exchange exchange
    cdef int held                      # Hold
    cdef unsigned char write_paused
    cdef unsigned char connected
    cdef unsigned char eager           # its transport says so at once when the kernel does not take all, for `draw`
    cdef unsigned char known           # whether `outbox` is decided
    cdef unsigned char behind          # the transport may hold bytes that the socket has not taken
    cdef int fd
    cdef Outbox outbox                 # None: everything is given to the transport
    cdef bytes unsent                  # written, and to be sent at the end of this turn of the loop
    cdef int64_t written               # bytes so far
    cdef int64_t taken                 # of these, what the peer had taken when that was last looked at
    cdef uint64_t progress_at          # milliseconds: when it last took a byte
    cdef int64_t span_from             # what it had taken at the beginning of the span in which its rate is watched
    cdef uint64_t span_until           # milliseconds; 0: no span has begun

    cdef int attach(self, object transport) except -1
    cdef int rearm(self) except -1
    cdef int restart(self) except -1
    cdef int write(self, bytes data) except -1
    cdef int send(self, bytes first, bytes second) except -1
    cdef int send_unsent(self) except -1
    cdef int hand_over(self, object data) except -1
    cdef Py_ssize_t backlog(self) except -1
    cdef bint outbox_takes(self, Py_ssize_t size) except -1
    cdef int abort_transport(self) except -1
    cdef int64_t taken_so_far(self) except -1
    cdef bint stalled(self, uint64_t limit) except -1
    cdef bint too_slow(self, int64_t rate) except -1
    cdef int descriptor(self) except -2
    cdef bint peer_gone(self) except -1
    cdef bint quiet(self) except -1
    cdef int flush_and_close(self) except -1
    cdef int abort_if_stalled(self) except -1
    cdef int reset(self) except -1
    cdef int sink_changed(self, int hold) except -1


cdef class Outbox(Part):
    """What the sides of a worker have written in this turn of its loop and have not sent yet."""
    cdef Engine engine
    cdef list sides
    cdef bint scheduled                # `turn_ends` will be called

    cdef int put(self, Side side) except -1
    cdef int send_all(self) except -1
    cdef int schedule(self) except -1


cdef class ClientSide(Side):
    """The client's end of an exchange, as the exchange sees it."""
    cdef Peer peer                     # there when the first request is
    cdef uint64_t read_at              # milliseconds: when some of a request body last came
    cdef int64_t uploaded              # bytes of it since the beginning of the span in which its rate is watched
    cdef uint64_t upload_until         # milliseconds: the end of that span; 0: none has begun

    cdef int send_response(self, Exchange x, bytes piece, bint last) except -1
    cdef int send_body(self, Exchange x, bytes piece, bint last) except -1
    cdef int draw(self, Exchange x) except -1
    cdef int send_interim(self, Exchange x) except -1
    cdef int send_continue(self, Exchange x) except -1
    cdef int cut(self, Exchange x) except -1
    cdef int open_tunnel(self, Exchange x) except -1
    cdef int send_raw(self, Exchange x, bytes data) except -1
    cdef int settled(self, Exchange x) except -1
    cdef int waits_for(self) noexcept
    cdef uint64_t waits_since(self) noexcept
    cdef bint give_way(self) except -1
    cdef int await_body(self, Exchange x, Py_ssize_t more) except -1
    cdef uint64_t body_due(self, Exchange x, uint64_t now) noexcept
    cdef int body_late(self, Exchange x) except -1
    cdef int answer_late(self, Exchange x) except -1


cdef class UpstreamSide(Side):
    """The upstream's end of an exchange, as the exchange sees it."""
    cdef Delivery delivery             # hears what comes of the answer; None: nobody does
    cdef bint rested                   # in a pool, before this request: it may have ended meanwhile

    cdef int start(self, Exchange x) except -1
    cdef int send_body(self, bytes piece, bint last) except -1
    cdef int send_raw(self, bytes data) except -1
    cdef int stop_sending(self) except -1
    cdef int abandon(self) except -1
    cdef int disown(self) except -1


include "contract.pxi"


cdef class BodyFilter:
    """What one policy does to a body while it passes."""
    cdef readonly str name             # as the log calls it
    cdef bint slow                     # takes at most a slice in one turn of the loop; the last of its chain

    cdef bytes feed(self, Exchange x, bytes piece, bint last, bint more)
    cdef int close(self, Exchange x, int cause) except -1


cdef class BodyRule:
    """A policy on response bodies, compiled into a route: it looks at the head and says what is done to the body."""
    cdef readonly str name

    cdef BodyFilter open(self, Exchange x, bytes piece, bint last)


cdef enum:
    PLACES = 16                        # features that look for what they know of an exchange


cdef enum Reframed:
    """Whose framing a response has."""
    FRAMED_AS_SENT = 0                 # the upstream's length, where it gave one
    FRAMED_WHOLE = 1                   # the body is there: its own length
    FRAMED_ANEW = 2                    # the length is not known: chunks, or until close


cdef class NoClient(ClientSide):
    """The client's end of a copy: takes everything and tells nobody."""


cdef class Answer:
    """A response that does not come from an upstream."""
    cdef int code                      # the status
    cdef list fields                   # (name, value) as bytes
    cdef bytes content
    cdef list removed                  # lower-case names that a policy has taken away; None = none


cdef enum Phase:
    PHASE_HEAD = 0
    PHASE_LATER = 8                    # a step of the chain waits, without a task
    PHASE_REQUEST = 1                  # policies, request side
    PHASE_BODY = 2                     # the body is being read for buffering
    PHASE_DELIVERY = 3                 # its answer has not begun
    PHASE_RESPONSE = 4                 # policies, response side
    PHASE_SENDING = 5
    PHASE_FILTERING = 11               # the same, and the body passes filters: see filters
    PHASE_ERROR = 6
    PHASE_TUNNEL = 7


cdef class Exchange(Timed):
    cdef Engine engine
    cdef Exchange next_spare           # while it waits to be used again
    cdef Runtime runtime
    cdef ClientSide client
    cdef readonly Head request
    cdef readonly Head response
    cdef Route route
    cdef Entry entry
    cdef Found found
    cdef Delivery delivery             # who is to answer; None: not yet, or no more
    cdef Source source                 # where the answer's body comes from; None: all of it is there
    cdef int phase
    cdef int cause
    cdef int given_by                  # the cause of an answer that is whole: OK, or who else than an upstream gave it
    cdef bint over
    cdef uint64_t generation           # moves on with each use and each wait; what comes back late knows an older one

    # the request
    cdef const unsigned char* host
    cdef Py_ssize_t host_length
    cdef const unsigned char* path     # normalised, percent-encoded
    cdef Py_ssize_t path_length
    cdef const unsigned char* query    # without "?"
    cdef Py_ssize_t query_length
    cdef bint has_query
    cdef bytes path_owner
    cdef bytes query_owner
    cdef bytes forward_path            # what the route's path policies made of it; None = as it is
    cdef bytes client_ip               # in its normal form; empty: not known, "unix:": behind a Unix socket
    cdef object hops                   # hops.Hops: what a trusted peer says of the way; None: nothing
    cdef char id[128]
    cdef int id_length
    cdef bint is_head
    cdef bint preflight                # of CORS, and the route is the one that it asks about
    cdef bint is_get
    cdef bint idempotent
    cdef bint upgrading
    cdef bint expects_continue
    cdef bint request_complete
    cdef bint sending_stopped          # the upstream answered before it had the whole body
    cdef bint buffering                # the whole body is kept before it goes on
    cdef bint filtering                # the body passes the route's filters
    cdef list body                     # pieces that can be sent (again)
    cdef Py_ssize_t body_kept
    cdef bint body_lost                # some of it is no longer kept
    cdef bint body_flows               # it is taken as it comes
    cdef int64_t body_bytes
    cdef list request_extra            # (name, value) fields added by edits and policies
    cdef uint32_t request_withheld     # OwnField: what of the gateway's own fields is not sent
    cdef object body_waiter
    cdef Py_ssize_t body_wanted

    # the response
    cdef readonly int status
    cdef Answer answer
    cdef bint response_started         # something of it went to the client
    cdef bint response_complete        # the upstream has sent all of it
    cdef bint status_changed
    cdef int reframed                  # Reframed
    cdef object filters                # filters.Chain, while the body passes filters
    cdef list response_extra
    cdef uint32_t response_withheld    # OwnField
    cdef list carried                  # (name, value) fields for the client, whatever it is answered; None = none
    cdef list response_body            # pieces that wait for policies
    cdef Py_ssize_t response_kept
    cdef int64_t bytes_out
    cdef int interims

    # what the features of its route know of it
    cdef Debt debts                    # the last owed; what was owed before is behind it
    cdef Facts facts                   # the first of them; each knows the next
    cdef void* places[PLACES]          # debts and facts by the features that look for theirs: see `new_place`; borrowed
    cdef Gate later                    # the step that it waits for, without a task
    cdef int64_t refused_for           # seconds that our own answer asks the client to wait; 0 = as the cause says

    # who asks, and how our own refusal says it
    cdef object identity               # `Identity`, or what a policy has put in its place
    cdef list refusal_fields           # (name, value) that the answer to a refusal has
    cdef str refusal_detail            # the sentence for the client; None: that of the cause
    cdef int refusal_of                # the cause that these are about

    # who was asked for the answer
    cdef int tries                     # how many targets, each time counted
    cdef readonly str target_name      # the last of them
    cdef bint is_copy                  # no client waits for it: its `client` is a `NoClient`

    # policies
    cdef tuple hooks
    cdef int step
    cdef object task
    cdef bint awaited                  # by that task, or by one that was cancelled and does not know it yet
    cdef int finish_from               # the step after the last `FinishMark` that it came to; 0: it came to none
    cdef object request_view
    cdef object response_view
    cdef object error
    cdef dict state

    # microseconds on CLOCK_MONOTONIC; 0 = never came
    cdef uint64_t started              # first byte of the head
    cdef uint64_t head_at
    cdef uint64_t forwarded_at         # policies passed
    cdef uint64_t connected_at
    cdef uint64_t response_at          # response head complete
    cdef uint64_t ended
    cdef uint64_t total_due            # milliseconds on the wheel

    # driven by the client's connection
    cdef int open(self, bytes piece, bint complete) except -1
    cdef int open_broken(self, bytes piece, int fault) except -1
    cdef int broke_off(self, bytes piece, int fault) except -1
    cdef int body_arrived(self, bytes piece, bint complete) except -1
    cdef int client_gone(self, int cause) except -1
    cdef int client_bytes(self, bytes data) except -1
    cdef int upstream_bytes(self, bytes data) except -1

    # driven by who answers
    cdef int interim(self) except -1
    cdef int answered(self, bytes piece, bint last) except -1
    cdef int piece(self, bytes piece, bint last) except -1
    cdef int failed(self, int cause) except -1

    cdef void remember(self, Facts facts, int place) noexcept
    cdef void owe(self, Debt debt) noexcept
    cdef int settle_debts(self, int cause) except -1
    cdef int refuse(self, int cause) except -1
    cdef int finish(self, int cause) except -1

    cdef void reuse(self) noexcept
    cdef bint exceeds(self, bytes piece) noexcept
    cdef int begin(self) except -1
    cdef int policies_passed(self) except -1
    cdef int dispatch(self) except -1
    cdef int delivery_raised(self, object error) except -1
    cdef int wait(self, uint64_t delay) except -1
    cdef int leave_delivery(self) except -1
    cdef int body_taken(self) except -1
    cdef bint goes_both_ways(self) noexcept
    cdef int hold_client(self) except -1
    cdef int stop_waiting(self) except -1
    cdef int stop_reading_body(self) except -1
    cdef int keep(self, bytes piece) except -1
    cdef int keep_response(self, bytes piece, bint last) except -1
    cdef int hooks_done(self) except -1
    cdef int deliver(self) except -1
    cdef int respond(self, Answer answer, int cause) except -1
    cdef int answer_problem(self, int cause) except -1


cdef class Hook:
    cdef readonly object call
    cdef readonly PluginTimes meter          # None: it is not measured

    cdef uint64_t begin(self, Exchange x) except? 0
    cdef int ran(self, Exchange x, uint64_t began) except -1
    cdef int stretch(self, Exchange x, uint64_t running, uint64_t now) except -1


cdef class TimedAwaitable:
    cdef Hook hook
    cdef Exchange x
    cdef object awaitable
    cdef object steps                  # its iterator
    cdef uint64_t began                # microseconds, as the next
    cdef uint64_t running

    cdef object step(self, object value)
    cdef int pause(self, uint64_t began, bint last) except -1


cdef class FinishMark(Gate):
    cdef Hook hook


cdef class Chain:
    """The filters of one response body, and how far they are."""
    cdef tuple rules
    cdef int opened                    # of the rules that have seen the head
    cdef list filters                  # at work, but for `slow`
    cdef OpenFilters open
    cdef BodyFilter slow               # the one behind them that takes slices
    cdef int cause                     # how the exchange ends when the body has
    cdef str working                   # the name of the one that was called last
    cdef bytes rest                    # a piece on its way through ``slow``
    cdef Py_ssize_t offset
    cdef bint rest_last
    cdef list waiting                  # (piece, last) that came meanwhile
    cdef Exchange exchange             # while a turn of the loop is awaited


cdef int new_place() except -1
cdef Exchange take_exchange(Engine engine)
cdef Exchange copy_of(Exchange x, NoClient client)
cdef Exchange detach(Exchange x, NoClient client)
cdef Answer answer_of(int code, list fields, bytes content)
cdef Answer copy_of_answer(Answer answer)
cdef int request_trailers(Exchange x) except -1
cdef int response_trailers(Exchange x, Head head) except -1
cdef bytes answer_trailers(Exchange x)
cdef bint accepts_trailers(Exchange x) noexcept
cdef bytes announced_trailers(Exchange x, Head head)
cdef str refusal_sentence(Exchange x, int cause)
cdef Answer with_refusal(Exchange x, int cause, Answer answer)
cdef Answer problem_answer(Exchange x, int cause, int status=*)
cdef int answer_options(Exchange x) except -1
cdef int answer_allowed(Exchange x) except -1
cdef int answer_health(Exchange x) except -1

# policies: see exchange_chain.pxi
cdef int prepare_views(Exchange x) except -1
cdef int advance(Exchange x) except -1
cdef int wait_on(Exchange x, object awaitable) except -1
cdef int policy_failed(Exchange x, object error) except -1
cdef int refuse_for(Exchange x, object refusal) except -1

# bodies, and where a request goes: see exchange_filters.pxi and exchange_resolve.pxi
cdef bint bodiless(Exchange x) noexcept
cdef int split_target(Exchange x) noexcept
cdef int identify_client(Exchange x) except -1
