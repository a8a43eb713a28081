"""The memory of caches: bytes and numbers, no HTTP."""
