from fastgate._core.limits.rate cimport Limit
