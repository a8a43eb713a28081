"""The store of the response cache, for all processes of a host. Knows bytes and times, no HTTP."""
