"""How much is admitted: rates, concurrency, and the keys that they count by."""
