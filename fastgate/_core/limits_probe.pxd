from fastgate._core.limiter cimport Limit
