"""A request as the cache knows it: its key, its addresses, and what the store has for it."""
