from fastgate._core.delivery.cache.rules import CacheRules

def hit(
    rules: CacheRules, request: bytes, stored: bytes, record: bytes, query: bytes, times: int
) -> tuple[float, int]:
    """Nanoseconds of processor time that the rules take of one hit, and how many Python objects they made in all.

    The key of the rules may have header:NAME and cookie:NAME only; the request has to be a hit.
    """
