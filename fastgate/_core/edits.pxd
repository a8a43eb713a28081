from fastgate._core.exchange cimport Answer, Exchange
from fastgate._core.head cimport Head
from fastgate._core.route cimport Edits, FixedAnswer


cdef list edit(Exchange x, Edits change, Head head, list extra)
cdef Answer fixed_answer(Exchange x, FixedAnswer fixed)
