from fastgate._core.routing.router cimport Entry, Query, Router


cdef bint is_stricter_otherwise(Router router, const Query* query, Entry entry) except -1
