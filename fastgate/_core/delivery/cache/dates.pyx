"""HTTP dates (RFC 9110 section 5.6.7), exactly the three forms, in any case (RFC 9111 section 4.2).

Theory of operation
-------------------
Each form has its own fixed shape, so the length or the byte behind the name of the day says which one it can be::

    Sun, 06 Nov 1994 08:49:37 GMT        IMF-fixdate
    Sunday, 06-Nov-94 08:49:37 GMT       rfc850-date
    Sun Nov  6 08:49:37 1994             asctime-date

Everything else is invalid: another zone, one digit where two are due, white space more or less, a day that its month
does not have. The name of the day has to be one of the seven, but not the right one: it adds nothing. The leap second
counts as the second before it, "the nearest time equal to or earlier" (RFC 9111 section 4.2).

Two digits of a year need to know the present: a date that seems to be more than 50 years ahead is of the last century
that fits.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy

from fastgate._core.delivery.cache.spans cimport lower

cdef enum:
    USUAL = 29                         # bytes of ``Sun, 06 Nov 1994 08:49:37 GMT``

cdef struct Known:
    unsigned char text[USUAL]
    int64_t seconds

# The last date in the usual form: an origin says the same one for a second, and of one thing for longer. Who reads a
# date has the interpreter's lock.
cdef Known _last
memcpy(_last.text, b"Thu, 01 Jan 1970 00:00:00 GMT", USUAL)
_last.seconds = 0

cdef const char* MONTHS = "janfebmaraprmayjunjulaugsepoctnovdec"
cdef const char* DAYS = "sunmontuewedthufrisat"
cdef const char* ENDS = "day\0day\0sday\0nesday\0rsday\0day\0urday"


cdef int64_t days_before(int year, int month, int day) noexcept nogil:
    """Days from 1970-01-01 to this one of the Gregorian calendar; ``month`` from 1."""
    cdef int64_t y = year - (1 if month <= 2 else 0)
    cdef int64_t era = (y if y >= 0 else y - 399) // 400
    cdef int64_t year_of_era = y - era * 400
    cdef int64_t day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


cdef int days_in(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


cdef int digits(const unsigned char* p, int count) noexcept nogil:
    """The number that so many digits make; -1: there is something else."""
    cdef int number = 0
    cdef int i
    for i in range(count):
        if p[i] < 48 or p[i] > 57:
            return -1
        number = number * 10 + p[i] - 48
    return number


cdef bint spells(const unsigned char* p, const char* text, Py_ssize_t length) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(length):
        if lower(p[i]) != <unsigned char>text[i]:
            return False
    return True


cdef int name_among(const unsigned char* p, const char* names, int count) noexcept nogil:
    """Which of these names of three letters stands at ``p``; -1: none."""
    cdef int i
    for i in range(count):
        if spells(p, names + 3 * i, 3):
            return i
    return -1


cdef int64_t clock_of(const unsigned char* p) noexcept nogil:
    """Seconds of the day of ``08:49:37``; -1: it is none."""
    cdef int hour = digits(p, 2)
    cdef int minute = digits(p + 3, 2)
    cdef int second = digits(p + 6, 2)
    if p[2] != b":" or p[5] != b":" or not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 60:
        return -1
    return hour * 3600 + minute * 60 + (59 if second == 60 else second)


cdef bint whole(int year, int month, int day, int64_t clock, int64_t* seconds) noexcept nogil:
    """Puts the parts of a date together; ``month`` from 0. False: they are none."""
    if year < 0 or month < 0 or clock < 0 or day < 1 or day > days_in(year, month + 1):
        return False
    seconds[0] = days_before(year, month + 1, day) * 86400 + clock
    return True


cdef int century_of(int64_t now, int64_t* limit) noexcept nogil:
    """The century of a time, year // 100; ``limit`` becomes the same day and second 50 years later."""
    cdef int64_t days = now // 86400
    cdef int64_t clock = now - days * 86400
    cdef int year = <int>(1970 + days // 366)  # this year or one before it
    while days_before(year + 1, 1, 1) <= days:
        year += 1
    cdef int64_t left = days - days_before(year, 1, 1)
    cdef int month = 1
    while left >= days_in(year, month):
        left -= days_in(year, month)
        month += 1
    limit[0] = (days_before(year + 50, month, 1) + left) * 86400 + clock
    return year // 100


cdef bint read_date(const unsigned char* p, Py_ssize_t length, int64_t now, int64_t* seconds) noexcept:
    """The seconds since 1970 of an HTTP date; False: the text is none, and ``seconds`` stays.

    ``now``: the present in the same seconds, not before 1970, for years of two digits.
    """
    cdef Py_ssize_t rest
    cdef const char* ends = ENDS
    cdef int day = -1
    cdef int i, year, century
    cdef int64_t found = 0
    cdef int64_t limit = 0
    if length == USUAL and memcmp(p, _last.text, USUAL) == 0:
        seconds[0] = _last.seconds
        return True
    if length < 24:
        return False
    day = name_among(p, DAYS, 7)
    if day < 0:
        return False
    if p[3] == b",":
        if length != USUAL or p[4] != b" " or p[7] != b" " or p[11] != b" " or p[16] != b" ":
            return False
        if not spells(p + 25, " gmt", 4):
            return False
        if not whole(digits(p + 12, 4), name_among(p + 8, MONTHS, 12), digits(p + 5, 2), clock_of(p + 17), seconds):
            return False
        memcpy(_last.text, p, USUAL)
        _last.seconds = seconds[0]
        return True
    if p[3] == b" ":
        if length != 24 or p[7] != b" " or p[10] != b" " or p[19] != b" ":
            return False
        return whole(
            digits(p + 20, 4), name_among(p + 4, MONTHS, 12),
            digits(p + 9, 1) if p[8] == b" " else digits(p + 8, 2), clock_of(p + 11), seconds,
        )
    while day > 0:
        while ends[0] != 0:
            ends += 1
        ends += 1
        day -= 1
    rest = 0
    while ends[rest] != 0:
        if lower(p[3 + rest]) != <unsigned char>ends[rest]:
            return False
        rest += 1
    p += 3 + rest
    if length - 3 - rest != 24 or p[0] != b"," or p[1] != b" " or p[4] != b"-" or p[8] != b"-" or p[11] != b" " \
            or not spells(p + 20, " gmt", 4):
        return False
    year = digits(p + 9, 2)
    if year < 0:
        return False
    # The latest century in which it is at most 50 years ahead; 29 February of a year 00 is in every fourth only.
    century = century_of(now, &limit) + 1
    for i in range(5):
        if whole(
            (century - i) * 100 + year, name_among(p + 5, MONTHS, 12), digits(p + 2, 2), clock_of(p + 12), &found
        ) and found <= limit:
            seconds[0] = found
            return True
    return False
