"""The memory of caches: bytes, numbers and times, no HTTP."""
