"""A store of the response cache for tests, and the same as another process sees it."""

import os

from fastgate._core.memory.cache.cache_file import CacheFile
from fastgate._core.memory.cache.cache_store import CacheStore
from fastgate._core.probes.cache_probe import Seen, store_whole

MB = 1 << 20


def new(size: int = 8 * MB, slots: int = 1) -> CacheStore:
    return CacheStore(CacheFile.create(size, slots=slots), 0)


def beside(store: CacheStore, slot: int | None = None) -> CacheStore:
    """The same store as another process sees it."""
    return CacheStore(CacheFile.attach(os.dup(store.file.fd)), slot)


def put(store: CacheStore, key: bytes, body: bytes, head: bytes = b"", fields: bytes = b"", **meta: int) -> bool:
    return store_whole(store, key, head, fields, body, **meta)  # type: ignore[arg-type]


def found_in(store: CacheStore, key: bytes) -> Seen:
    found = Seen.of(store, key)
    assert found is not None
    return found


def at_place(store: CacheStore, place: int, generation: int) -> Seen:
    found = Seen.at(store, place, generation)
    assert found is not None
    return found


def body_of(store: CacheStore, key: bytes, now: int | None = None) -> bytes | None:
    found = Seen.of(store, key, now)
    return None if found is None else found.body()
