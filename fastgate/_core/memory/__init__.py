"""Memory that processes share, and bytes that are put together: segments, locks, rows, events. Knows nothing."""
