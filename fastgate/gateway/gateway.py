"""A running gateway: one event loop, one process. What a worker runs, and what tests and embedders run alone."""

import asyncio
import logging
import resource
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self
from weakref import finalize

from fastgate._core.exchange.exchange import Observer
from fastgate._core.exchange.worker import Engine
from fastgate._core.limits.concurrency import merged
from fastgate._core.limits.rate import evictions, lifted
from fastgate._core.memory.plugin_times import plugin_times
from fastgate._core.wire.h1.client import ClientConnection
from fastgate._core.wire.room import Places
from fastgate._core.wire.tls import TLSConnection
from fastgate.config import ConfigError, GatewayConfig
from fastgate.config.check.changes import emptied
from fastgate.gateway import duties
from fastgate.gateway.building import Built, build, close, make_engine
from fastgate.gateway.cache import GatewayCache
from fastgate.gateway.control import ControlPlane, LocalControl
from fastgate.gateway.cooperative import Cooperative
from fastgate.gateway.duties.dispatch import Subscribers
from fastgate.gateway.duties.upstreams import TargetNames
from fastgate.gateway.health_changes import HealthChanges
from fastgate.gateway.listeners import Listener
from fastgate.gateway.listening_sockets import TCPAddress
from fastgate.gateway.plugins import Plugins, shut_down
from fastgate.gateway.policy import Policy
from fastgate.gateway.pools import Pools
from fastgate.gateway.proxy_protocol import HostPort
from fastgate.gateway.runtime import Compiled
from fastgate.observe.access_log import LogWriter
from fastgate.state.cache_memory import CacheMemory

if TYPE_CHECKING:
    from fastgate._core.delivery.cache.worker_cache import WorkerCache
    from fastgate.gateway.tls import ServerTLS

_log = logging.getLogger("fastgate")

_GRACE = 1.0  # how long idle connections stay open after the listening sockets were closed
_POLL = 0.02
_FEW_CONNECTIONS = 256
_FILES_KEPT = 32  # descriptors that are not connections
_SLICE = 0.0005  # seconds that a reload works between requests
_TEND_CACHE = 1.0  # seconds from one look at the response cache to the next
_LET_GO = 16  # routes of an old configuration that are freed at a time
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Gateway:
    """A gateway in this process: ``async with Gateway(config) as gateway``, or `start` and `drain` or `close`.

    ``control`` is given by a supervisor; without one the gateway opens its own sockets and keeps its own counters.
    ``policies`` are objects for the ``[[plugins]]`` of these names, instead of those that their entries would make. A
    gateway can be started once.
    """

    def __init__(
        self,
        config: GatewayConfig,
        *,
        control: ControlPlane | None = None,
        policies: Mapping[str, Policy] | None = None,
    ) -> None:
        self.config = config
        self._control = control
        self._listeners: list[Listener] = []
        self._engine: Engine | None = None
        self._pools: Pools | None = None
        self._subscribers: Subscribers | None = None
        self._changes: HealthChanges | None = None
        self._plugins = Plugins(policies)
        self._compiled: Compiled | None = None
        self._prepared: Built | None = None
        self._letting_go: set[asyncio.Task[None]] = set()
        self._former: list[asyncio.Future[None]] = []  # of each former runtime: no exchange that began with it is left
        self._ending: list[Policy] = []  # to be shut down then
        self._tls: ServerTLS | None = None
        self._watch: asyncio.Task[None] | None = None
        self._access_log: LogWriter | None = None
        self._observers: list[Observer] = []  # told of each exchange that is over, under every configuration
        self._cached_by: WorkerCache | None = None
        self._tending: asyncio.TimerHandle | None = None
        self._closed = False

    # -- life

    async def start(self) -> None:
        """Serves from now on.

        Raises ConfigError for errors that only a start can find (certificates, plugins), ListenError if it cannot
        listen on an address, and any exception of a plugin's ``on_startup``; nothing stays open then.
        """
        config = self.config
        control = self._control = self._control or LocalControl(config)
        loop = asyncio.get_running_loop()
        segment = control.segment
        engine = make_engine(loop, segment, control.slot, _write_log)
        subscribers = self._subscribers = Subscribers(duties.DUTIES, control.ask)
        control.subscribe(subscribers)
        names = subscribers.of(TargetNames)
        pools = Pools(engine, control.store, segment.region("events"), control.slots, names.found)
        names.watch(pools.resolved)
        try:
            built = await build(
                config,
                engine,
                control.store,
                segment.region("plugins"),
                pools,
                subscribers,
                self._open_cache,
                self._plugins.renewed,
                Cooperative(),
            )
        except BaseException:
            self._close_cache()
            raise
        plugins, self._tls, self._compiled = built.plugins, built.tls, built.compiled
        pools.use(built.plan)
        _bound_connections(config, engine, pools, control.slots)
        if 0 < engine.max_connections < _FEW_CONNECTIONS and not config.gateway.max_connections:
            _log.warning("the limit of open files (ulimit -n) allows only %d connections", engine.max_connections)
        self._engine = engine
        self._pools = pools
        try:
            self._open_access_log(engine)
            self._use(engine, built.compiled)
            await plugins.start(self)
            self._plugins = plugins
            self._changes = HealthChanges(segment.region("events"), pools)
            self._changes.use(plugins)
            self._listeners = control.listeners(config)
            control.use(config)
            engine.start()
            places = Places(engine)
            for listener in self._listeners:
                await listener.start(loop, self._connection, places)
        except BaseException:
            await self.close()
            raise
        if self._tls is not None:
            self._tls.changed = engine.identify_anew
            self._watch = loop.create_task(self._tls.watch())
        control.ready()

    async def drain(self) -> None:
        """Stops gracefully: no new connections; open requests finish, at most for ``drain_timeout``."""
        engine, control = self._engine, self._control
        if engine is None or control is None or self._closed:
            return
        gateway = self.config.gateway
        engine.ready = False
        await control.may_close(gateway.drain_delay)
        engine.draining = True
        await asyncio.gather(*(listener.stop() for listener in self._listeners))
        loop = asyncio.get_running_loop()
        closed_at = loop.time()
        while (
            engine.open_connections or engine.afterwards or self._fetching()
        ) and loop.time() - closed_at < gateway.drain_timeout:
            await asyncio.sleep(_POLL)
            if loop.time() - closed_at >= _GRACE:
                engine.close_idle()
        if engine.open_connections:
            control.event("drain_timeout", connections=engine.open_connections)
        await self.close()

    async def close(self) -> None:
        """Stops now: open connections are cut."""
        if self._closed:
            return
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
        await asyncio.gather(*(listener.stop() for listener in self._listeners))
        engine = self._engine
        if engine is not None:
            engine.draining = True
            engine.abort_connections()
            pools = self._pools or ()
            for pool in pools:
                pool.close()
            if self._compiled is not None:
                close(self._compiled)
            # Transports close in the loop's next turns; nothing of ours is left behind.
            for _ in range(100):
                if not engine.open_connections and not any(pool.open for pool in pools):
                    break
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.001)
            # A fetch may have gone on without its client just now.
            engine.abort_connections()
            await _end_tasks(engine.afterwards)
            engine.stop()
        for task in self._letting_go:
            task.cancel()
        if self._changes is not None:
            self._changes.stop()
        if self._control is not None:
            await self._control.end()
        ending, self._ending = self._ending, []
        await shut_down(ending, self)
        await self._plugins.stop(self)
        self._plugins = Plugins()
        self._close_cache()
        if self._access_log is not None:
            self._access_log.leave_loop()
            await asyncio.to_thread(self._access_log.close)

    # -- reload

    async def reload(self, config: GatewayConfig, *, allow_empty: bool = False) -> None:
        """Uses another configuration from the next request on; what is under way ends under the one it began with.

        For a gateway without a supervisor. Raises ConfigError with every reason why it cannot be; nothing has changed
        then. One without routes is refused while the one in use has some, unless ``allow_empty`` says that it is meant.
        Listening addresses, logs and the sizes of shared memory stay as they are.
        """
        if not allow_empty and (problems := emptied(self.config, config)):
            raise ConfigError(problems)
        try:
            await self.prepare(config)
        except BaseException:
            self.abort()
            raise
        self.commit()

    async def prepare(self, config: GatewayConfig) -> None:
        """Makes a configuration ready beside the one in use, between requests. Raises ConfigError."""
        assert self._engine is not None
        assert self._pools is not None
        assert self._subscribers is not None
        assert self._control is not None
        cooperative = Cooperative(_SLICE)
        built = await build(
            config,
            self._engine,
            self._control.store,
            self._control.segment.region("plugins"),
            self._pools,
            self._subscribers,
            self._open_cache,
            self._plugins.renewed,
            cooperative,
        )
        try:
            await built.plugins.start(self)
        except BaseException:
            close(built.compiled)
            self._pools.forget(built.plan)
            raise
        self._prepared = built

    def commit(self) -> None:
        """Uses what was prepared, from the next request on."""
        assert self._prepared is not None
        assert self._engine is not None
        assert self._pools is not None
        assert self._control is not None
        assert self._compiled is not None
        former, former_config = self._compiled, self.config
        self.config, plugins, plan, self._compiled, tls = self._prepared
        self._prepared = None
        self._pools.use(plan)
        self._use(self._engine, self._compiled)
        _bound_connections(self.config, self._engine, self._pools, self._control.slots)
        for listener in self._listeners:
            listener.use(self.config)
        ended = self._plugins.give_way(plugins)
        self._plugins = plugins
        if self._changes is not None:
            self._changes.use(plugins)
        if self._tls is not None and tls is not None:
            self._tls.take_over(tls)
        self._control.use(self.config)
        loop = asyncio.get_running_loop()
        gone = loop.create_future()
        finalize(former.runtime, gone.set_result, None).atexit = False
        self._former = [each for each in self._former if not each.done()] + [gone]
        self._ending += ended
        task = loop.create_task(self._let_go(former, former_config, ended))
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    def abort(self) -> None:
        """Forgets what was prepared, if anything was."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            assert self._pools is not None
            close(prepared.compiled)
            self._pools.forget(prepared.plan)
            task = asyncio.get_running_loop().create_task(prepared.plugins.stop(self, but=self._plugins))
            self._letting_go.add(task)
            task.add_done_callback(self._letting_go.discard)

    async def _let_go(self, former: Compiled, config: GatewayConfig, ended: list[Policy]) -> None:
        """Frees what a reload has replaced, a little at a time, and ends the plugins that are no longer used.

        An exchange under way keeps its route and the little that holds for all; so even a stream that goes on for days
        keeps no old configuration. It may use a plugin of its time, though.
        """
        began = self._former.copy()
        entries, routes = former.runtime.dissolve(), former.routes
        configured = [*config.upstreams.values(), *config.routes]
        del former, config
        cooperative = Cooperative(_SLICE)
        while entries or routes or configured:
            for each in (entries, routes, configured):
                del each[-_LET_GO:]
            await cooperative.give_way()
        if ended:
            await asyncio.wait(began)
            self._ending = [policy for policy in self._ending if policy not in ended]
            await shut_down(ended, self)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- what is asked of it

    @property
    def cache(self) -> GatewayCache:
        """The response cache, for plugins: purges reach all workers. Before the start methods raise RuntimeError."""
        return GatewayCache(self._cache_memory, lambda: self.config)

    def _cache_memory(self) -> CacheMemory:
        if self._control is None:
            raise RuntimeError("the gateway does not run")
        return self._control.cache

    @property
    def addresses(self) -> list[TCPAddress | str]:
        """Where it listens: (host, port), or the path of a Unix socket."""
        return [listener.address for listener in self._listeners]

    @property
    def port(self) -> int:
        """The first TCP port; 0 when there is none."""
        return next((listener.port for listener in self._listeners if listener.port), 0)

    @property
    def url(self) -> str:
        """The first address as a URL."""
        return self._listeners[0].url if self._listeners else ""

    @property
    def open_connections(self) -> int:
        """Client connections that are open."""
        return self._engine.open_connections if self._engine is not None else 0

    def metrics(self) -> dict[str, object]:
        """Counters of all workers, summed; ``plugins`` has what the hooks of each took."""
        assert self._control is not None
        segment = self._control.segment
        limits, logs = segment.region("limits"), segment.region("logs")
        plugins = plugin_times(segment.region("plugins"), [plugin.name for plugin in self.config.plugins])
        return {
            **segment.metrics(),
            "rate_limit_evictions": evictions(limits) + evictions(logs),
            "rate_limit_lifted": lifted(limits) + lifted(logs),
            "concurrency_merged": merged(segment.region("shares")),
            "plugins": plugins,
        }

    def reopen_logs(self) -> None:
        """Opens the access log by its name again, after it was moved away."""
        if self._access_log is not None:
            self._access_log.reopen()

    def read_certificates(self) -> None:
        """Reads the files of ``[gateway.tls]`` again; what cannot be used is logged, and the old ones stay."""
        if self._tls is None:
            return
        try:
            self._tls.reload()
        except ConfigError as error:
            _log.error("keeping the previous certificates: %s", "; ".join(map(str, error.problems)))
        else:
            self._tls.changed()

    # -- parts

    def _connection(self, listener: Listener, peer: HostPort | None, local: HostPort | None) -> asyncio.Protocol:
        assert self._engine is not None
        if self._tls is not None:
            return TLSConnection(self._engine, self._tls, listener, peer, local)
        return ClientConnection(self._engine, listener, peer, local)

    def _open_access_log(self, engine: Engine) -> None:
        settings = self.config.gateway.access_log
        if settings.path:
            from fastgate._core.observe.access_log import AccessLog

            self._access_log = LogWriter(settings.path, loop=engine.loop)
            self._observers.append(AccessLog(self._access_log, settings.format, settings.sample))

    def _open_cache(self) -> "WorkerCache":
        """The response cache, opened when a route first asks for it: from then on it is told of fetches elsewhere."""
        control = self._control
        assert control is not None
        if self._cached_by is None:
            self._cached_by = control.cache.open(control.slot)
            loop = asyncio.get_running_loop()
            loop.add_reader(control.cache.wakers[control.slot], self._cached_by.woken)
            self._tending = loop.call_later(_TEND_CACHE, self._tend_cache, self._cached_by)
        return self._cached_by

    def _fetching(self) -> bool:
        """Whether answers are being fetched that other workers may wait for."""
        return self._cached_by is not None and self._cached_by.flying > 0

    def _tend_cache(self, cache: "WorkerCache") -> None:
        """Makes room where there is too little, and looks after fetches elsewhere, in case that a wake-up was lost."""
        self._tending = asyncio.get_running_loop().call_later(_TEND_CACHE, self._tend_cache, cache)
        cache.memory.make_room()
        cache.flights.sweep()

    def _close_cache(self) -> None:
        """Gives the slot back. What is still pinned is given back by who waits for this process."""
        control = self._control
        if control is not None:
            if self._cached_by is not None:
                self._cached_by = None
                if self._tending is not None:
                    self._tending.cancel()
                asyncio.get_running_loop().remove_reader(control.cache.wakers[control.slot])
            control.cache.close()

    def _use(self, engine: Engine, compiled: Compiled) -> None:
        compiled.runtime.observers = self._observers
        engine.use(compiled.runtime)


async def _end_tasks(tasks: set[asyncio.Task[BaseException | None]]) -> None:
    """Lets them end for a moment, and cancels those that have not."""
    if not tasks:
        return
    _, waiting = await asyncio.wait(tasks, timeout=_GRACE)
    for task in waiting:
        task.cancel()
    if waiting:
        await asyncio.wait(waiting, timeout=_GRACE)


def _write_log(level: str, message: str, exception: BaseException | None = None) -> None:
    """The core's way to the log."""
    _log.log(_LEVELS[level], message, exc_info=exception)


def _bound_connections(config: GatewayConfig, engine: Engine, pools: Pools, slots: int) -> None:
    """How many connections clients may have: never so many that no files are left for those to upstreams.

    ``slots`` is the number of workers, for each of which every worker has a descriptor.
    """
    wanted, possible = config.gateway.max_connections, _connections_possible(pools, slots)
    if wanted > possible > 0:
        _log.warning(
            "gateway.max_connections is %d, but the limit of open files (ulimit -n) allows %d beside connections to "
            "upstreams: using %d",
            wanted,
            possible,
            possible,
        )
    engine.max_connections = min(wanted, possible) if wanted and possible else wanted or possible
    engine.max_per_client = config.gateway.max_connections_per_client


def _connections_possible(pools: Pools, slots: int) -> int:
    """How many client connections the limit of open files leaves beside those to upstreams, which get half at most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 0
    upstream = sum(pool.max_connections * len(pool.targets) for pool in pools)
    return max(16, soft - _FILES_KEPT - slots - min(upstream, soft // 2))
