"""Purges: which objects of the cache must not be used any more, without looking for them.

Theory of operation
-------------------
One number, in memory that all processes share, grows with every purge. An object has the number that was read before
its request was sent upstream. A purge leaves its number with what it purges: a tag, a prefix of addresses, everything.
An object whose number is lower than that of one of its tags, of a prefix of its address or of everything is purged. So
the cost of a purge does not depend on what is stored, all processes see it at once, and an answer that is under way
when it comes is purged before it is stored.

**The order.** Whoever purges reads the number, writes *number + 1* to the entry (which never becomes lower), and *then*
adds one to the number. Whoever looks at an object that was checked when the number was what it is now knows that it is
valid (`state_of`); otherwise the number is read first, then the entries, and the object remembers that number as the
one at which it was checked. With the two writes the other way round it could be checked between them: at the new
number, against the old entry.

    checked == number           every entry that was written before the number became that was looked at
    an object's number < n      its request was sent before the purge that wrote n began, or at least before it ended

Two that purge at once may write one number into two entries, and both add one.

**Tags** lie in buckets of eight, each has two of these and goes to the emptier one. When both are full the oldest of
the sixteen goes, and its numbers become the *floor* of its bucket: what looks there may be purged without need, never
missed. Writers lock the two buckets (robust locks: a process that is killed holds up nobody, and every store leaves
the table valid). Readers take no lock: the floor is raised before a tag goes, and read after the tags.

**Prefixes** are a list of at most 256 rules. When it is full the two oldest of one kind become their common prefix, or
everything, when they have nothing in common. One place is spare, so that the common rule is there before the two go. A
reader that finds `prefixes` changed reads the list again, as it may have missed a rule that was moved. A prefix that is
longer than 228 bytes is cut there, and purges more.

**Presence.** An unsafe request purges the URI that it changed, and clients send as many of those as they like. So a URI
is marked in a map of bits before a request for it is sent, and what is not marked needs no entry. There are two maps;
the newer one is written and both are read. When a quarter of the newer one is set, the older one is cleared (in slices,
so that no call takes long) and becomes the newer one. An object that may be marked in the cleared map only, because it
was sent before the other one was begun, counts as purged: that is a purge of everything below the number `start`. The
number of an object is read before the map that it is marked in is chosen, and `start` is a number that was made after
the maps were turned; so an object whose number is at least `start` is marked in that map or in a newer one.

**Soft** purges have numbers of their own. What they meet is stale, but still there.

Cost: `state_of`, two loads when nothing was purged since the last look. After a purge once for each object: for a tag
two buckets (the line of tags of each, and a floor). A purge: two locks and two buckets.
"""

from collections import namedtuple

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport UINT32_MAX, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from fastgate._core.memory.hashing cimport mix64, siphash, siphash_derive
from fastgate._core.memory.locks cimport (
    STRIPES,
    Stripe,
    prepare_stripes,
    shared_lock,
    shared_lock_drop,
    shared_lock_prepare,
    shared_lock_take,
    shared_unlock,
)
from fastgate._core.memory.region cimport PURGES_LAYOUT, Region

cdef extern from "memory/atomics.h" nogil:
    void atomic_store_relaxed(uint64_t* word, uint64_t value)
    void atomic_store_release(uint64_t* word, uint64_t value)
    uint64_t atomic_add_relaxed(uint64_t* word, uint64_t amount)
    uint64_t atomic_add_release(uint64_t* word, uint64_t amount)
    uint64_t atomic_set_bits(uint64_t* word, uint64_t bits)
    int atomic_swap_if_equal(uint64_t* word, uint64_t* expected, uint64_t desired)
    void atomic_fence_acquire()
    void atomic_fence_release()

cdef enum:
    LINE = 64
    LOOKS = 8                   # at a list of prefixes that changes
    LEAST = 1024                # bytes for tags and maps
    SLICE = 32768               # bytes of a map that are cleared at once

cdef uint64_t UNKNOWN = <uint64_t>-1

KINDS = ("uri", "route", "host", "tag", "group")
STATES = ("valid", "stale", "purged")

PurgeStats = namedtuple(
    "PurgeStats",
    "number by_tag by_prefix everything unneeded floors_raised prefixes_merged turns",
    module=__name__,
)
PurgeStats.__doc__ = "What was purged, and how often without need."


cdef inline size_t up(size_t value, size_t unit) noexcept nogil:
    return (value + unit - 1) // unit * unit


cdef inline size_t fixed_bytes() noexcept nogil:
    return up(sizeof(PurgesHead), LINE) + up(PREFIX_PLACES * sizeof(PrefixRule), LINE)


cdef size_t purges_bytes(size_t store) noexcept:
    return fixed_bytes() + up(store // 64, LINE) + up(store // 256, LINE) + 2 * LINE


def purges_size(store) -> int:
    """Bytes of the region for a store of so many bytes: for tags a sixty-fourth of it, for presence a 256th."""
    return purges_bytes(store)


cdef inline void raise_to(uint64_t* word, uint64_t value) noexcept nogil:
    """Makes a word at least this. Whoever sees the value sees what was written before."""
    cdef uint64_t found = atomic_load_relaxed(word)
    while found < value:
        if atomic_swap_if_equal(word, &found, value):
            break


cdef inline uint64_t age(uint64_t hard, uint64_t soft) noexcept nogil:
    return hard if hard > soft else soft


cdef class Purges:
    """The purges of a region, as one process sees them. Any number of processes may use it at once."""

    def __cinit__(self, Region region not None):
        cdef size_t rest
        cdef int kind
        cdef bytes name
        cdef uint64_t words[2]
        cdef unsigned char* base = region.open(
            "purges", PURGES_LAYOUT, fixed_bytes() + LEAST
        )
        self.region = region
        self.head = <PurgesHead*>base
        self.rules = <PrefixRule*>(base + up(sizeof(PurgesHead), LINE))
        rest = region.size - fixed_bytes()
        self.width = rest // 10 // LINE * LINE
        self.count = min((rest - 2 * self.width - LINE) // (sizeof(TagBucket) + sizeof(Floors)), <size_t>UINT32_MAX)
        self.buckets = <TagBucket*>(base + fixed_bytes())
        self.floors = <Floors*>(self.buckets + self.count)
        self.maps = base + fixed_bytes() + up(self.count * (sizeof(TagBucket) + sizeof(Floors)), LINE)
        for kind in range(TAG_KINDS):
            name = KINDS[kind].encode()
            siphash_derive(self.secrets[kind], region.secret, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        siphash_derive(<unsigned char*>words, region.secret, b"presence", 8)
        self.seed = words[0]
        if shared_lock_prepare(self.head.prefix_lock.lock) or shared_lock_prepare(self.head.map_lock.lock):
            raise OSError("this system has no mutexes that processes share")
        prepare_stripes(self.head.stripes)

    cdef uint64_t tag_of(self, int kind, const void* text, size_t length) noexcept nogil:
        cdef uint64_t tag = siphash(self.secrets[kind], text, length)
        return tag if tag else 1

    # -- looking -------------------------------------------------------------------------------------------------------

    cdef int compare(
        self, uint64_t number, uint64_t* checked, const uint64_t* tags, int count, const unsigned char* address,
        size_t length, size_t path
    ) noexcept nogil:
        cdef uint64_t purges = atomic_load_acquire(&self.head.number)
        cdef bint soft = number < atomic_load_acquire(&self.head.everything.soft)
        cdef TagBucket* bucket
        cdef Floors* floors
        cdef int index, way, choice, found
        if number < atomic_load_acquire(&self.head.everything.hard):
            return PURGED_HARD
        for index in range(count):
            for choice in range(2):
                bucket = self.bucket_of(mix64(tags[index]) if choice else tags[index])
                for way in range(TAG_WAYS):
                    if atomic_load_acquire(&bucket.tags[way]) == tags[index]:
                        if number < atomic_load_acquire(&bucket.hard[way]):
                            return PURGED_HARD
                        soft |= number < atomic_load_acquire(&bucket.soft[way])
                # After the tags: one that has gone meanwhile has raised it before.
                floors = &self.floors[bucket - self.buckets]
                if number < atomic_load_acquire(&floors.hard):
                    return PURGED_HARD
                soft |= number < atomic_load_acquire(&floors.soft)
        if number < atomic_load_acquire(&self.head.newest_prefix):
            found = self.match(number, address, length, path)
            if found == PURGED_HARD:
                return PURGED_HARD
            soft |= found == PURGED_SOFT
        if soft:
            return PURGED_SOFT
        atomic_store_relaxed(checked, purges)
        return PURGED_NOT

    cdef int match(self, uint64_t number, const unsigned char* address, size_t length, size_t path) noexcept nogil:
        """What the prefixes say. One that cannot be read in peace, because the list changes all the time, is purged."""
        cdef PrefixRule* rule
        cdef uint64_t before, hard, soft, place, reach
        cdef uint32_t size
        cdef size_t begin
        cdef int found, _look
        for _look in range(LOOKS):
            before = atomic_load_acquire(&self.head.prefixes)
            reach = min(atomic_load_acquire(&self.head.reach), <uint64_t>PREFIX_PLACES)
            found = PURGED_NOT
            for place in range(reach):
                rule = &self.rules[place]
                hard = atomic_load_acquire(&rule.hard)
                soft = atomic_load_acquire(&rule.soft)
                if number >= hard and (number >= soft or found == PURGED_SOFT):
                    continue
                begin = path if rule.tail else 0
                size = rule.length
                if size > PREFIX_MOST or begin > length or size > length - begin:
                    continue
                if memcmp(address + begin, rule.text, size) == 0:
                    found = PURGED_HARD if number < hard else PURGED_SOFT
                    if found == PURGED_HARD:
                        break
            atomic_fence_acquire()
            if atomic_load_relaxed(&self.head.prefixes) == before:
                return found
        return PURGED_HARD

    cdef inline TagBucket* bucket_of(self, uint64_t mixed) noexcept nogil:
        return &self.buckets[((mixed >> 32) * self.count) >> 32]

    # -- purging -------------------------------------------------------------------------------------------------------

    cdef inline void pause(self) noexcept nogil:
        """Between the two writes of a purge, where nothing happens but in tests."""
        if self.between != NULL:
            self.between()

    cdef uint64_t count_purge(self) noexcept nogil:
        """The second write of a purge: the new number. Whoever sees it sees what was written before."""
        return atomic_add_release(&self.head.number, 1) + 1

    cdef void write_tag(self, uint64_t tag, bint soft) noexcept nogil:
        cdef uint64_t number = atomic_load_acquire(&self.head.number) + 1
        self.enter(tag, 0 if soft else number, number if soft else 0)
        self.pause()
        self.count_purge()
        atomic_add_relaxed(&self.head.purges_by_tag, 1)

    cdef bint changed(self, uint64_t uri, uint64_t mark) noexcept nogil:
        if not self.is_present(mark):
            atomic_add_relaxed(&self.head.unneeded, 1)
            return False
        self.write_tag(uri, False)
        return True

    cdef void write_prefix(self, const unsigned char* text, size_t length, bint tail, bint soft) noexcept nogil:
        cdef uint64_t number = atomic_load_acquire(&self.head.number) + 1
        self.enter_prefix(text, length, tail, 0 if soft else number, number if soft else 0)
        self.pause()
        self.count_purge()
        atomic_add_relaxed(&self.head.purges_by_prefix, 1)

    cdef void write_everything(self, bint soft) noexcept nogil:
        cdef uint64_t number = atomic_load_acquire(&self.head.number) + 1
        raise_to(&self.head.everything.soft if soft else &self.head.everything.hard, number)
        self.pause()
        self.count_purge()
        atomic_add_relaxed(&self.head.purges_of_everything, 1)

    cdef void enter(self, uint64_t tag, uint64_t hard, uint64_t soft) noexcept nogil:
        """Raises the numbers of a tag, which is entered when it is new."""
        cdef TagBucket* buckets[2]
        cdef TagBucket* bucket = NULL
        cdef Stripe* first
        cdef Stripe* second
        cdef Floors* floors
        cdef uint64_t oldest = UNKNOWN, covered
        cdef int choice, way, free, most = 0, place = 0
        buckets[0] = self.bucket_of(tag)
        buckets[1] = self.bucket_of(mix64(tag))
        first = &self.head.stripes[(buckets[0] - self.buckets) % STRIPES]
        second = &self.head.stripes[(buckets[1] - self.buckets) % STRIPES]
        if second < first:
            first, second = second, first
        shared_lock(first.lock)
        if second != first:
            shared_lock(second.lock)
        for choice in range(2):
            free = 0
            for way in range(TAG_WAYS):
                if buckets[choice].tags[way] == tag:
                    raise_to(&buckets[choice].hard[way], hard)
                    raise_to(&buckets[choice].soft[way], soft)
                    bucket = NULL
                    free = -1
                    break
                free += buckets[choice].tags[way] == 0
            if free < 0:
                break
            if free > most:
                most = free
                bucket = buckets[choice]
        else:
            if bucket == NULL:
                # Both are full: the oldest of the sixteen goes.
                bucket = buckets[0]
                for choice in range(2):
                    for way in range(TAG_WAYS):
                        if age(buckets[choice].hard[way], buckets[choice].soft[way]) < oldest:
                            oldest = age(buckets[choice].hard[way], buckets[choice].soft[way])
                            bucket = buckets[choice]
                            place = way
                floors = &self.floors[bucket - self.buckets]
                covered = atomic_load_relaxed(&self.head.everything.hard)
                if bucket.hard[place] > max(floors.hard, covered) or bucket.soft[place] > max(floors.soft, covered):
                    raise_to(&floors.hard, bucket.hard[place])
                    raise_to(&floors.soft, bucket.soft[place])
                    atomic_add_relaxed(&self.head.floors_raised, 1)
                # From here on the floor speaks for it.
                atomic_store_release(&bucket.tags[place], 0)
            else:
                while place < TAG_WAYS - 1 and bucket.tags[place] != 0:
                    place += 1
            atomic_store_release(&bucket.hard[place], hard)
            atomic_store_release(&bucket.soft[place], soft)
            atomic_store_release(&bucket.tags[place], tag)
        if second != first:
            shared_unlock(second.lock)
        shared_unlock(first.lock)

    # -- prefixes ------------------------------------------------------------------------------------------------------

    cdef void enter_prefix(
        self, const unsigned char* text, size_t length, bint tail, uint64_t hard, uint64_t soft
    ) noexcept nogil:
        cdef PrefixRule* rule
        cdef PrefixRule* new
        cdef int place
        if length == 0:
            raise_to(&self.head.everything.hard, hard)
            raise_to(&self.head.everything.soft, soft)
            return
        length = min(length, <size_t>PREFIX_MOST)
        shared_lock(self.head.prefix_lock.lock)
        raise_to(&self.head.newest_prefix, age(hard, soft))
        for place in range(PREFIX_PLACES):
            rule = &self.rules[place]
            if (
                is_used(rule) and rule.tail == <uint32_t>tail and rule.length == length
                and memcmp(rule.text, text, length) == 0
            ):
                raise_to(&rule.hard, hard)
                raise_to(&rule.soft, soft)
                break
        else:
            new = self.spare_rule()
            self.place_rule(new, text, length, tail, hard, soft)
            for place in range(PREFIX_PLACES):
                rule = &self.rules[place]
                if rule != new and is_used(rule) and covers(new, rule):
                    self.drop_rule(rule)
        shared_unlock(self.head.prefix_lock.lock)

    cdef PrefixRule* spare_rule(self) noexcept nogil:
        """A place that is free, when the rule that comes leaves one free again."""
        cdef PrefixRule* spare = NULL
        cdef int place, used = 0
        for place in range(PREFIX_PLACES):
            if is_used(&self.rules[place]):
                used += 1
            elif spare == NULL:
                spare = &self.rules[place]
        if used < PREFIX_RULES:
            return spare
        self.drop_covered()
        used = 0
        for place in range(PREFIX_PLACES):
            used += is_used(&self.rules[place])
        if used >= PREFIX_RULES:
            self.merge_rules()
        for place in range(PREFIX_PLACES):
            if not is_used(&self.rules[place]):
                return &self.rules[place]
        return &self.rules[0]   # memory that is damaged: there is always one

    cdef void drop_covered(self) noexcept nogil:
        """Drops rules that say nothing that another one does not say: also what a process that died left of a merge."""
        cdef uint64_t everything = atomic_load_relaxed(&self.head.everything.hard)
        cdef PrefixRule* rule
        cdef int place, other
        for place in range(PREFIX_PLACES):
            rule = &self.rules[place]
            if not is_used(rule):
                continue
            if age(rule.hard, rule.soft) <= everything:
                self.drop_rule(rule)
                continue
            for other in range(PREFIX_PLACES):
                if other != place and is_used(&self.rules[other]) and covers(&self.rules[other], rule):
                    self.drop_rule(rule)
                    break

    cdef void merge_rules(self) noexcept nogil:
        """Puts the common prefix of the two oldest rules of one kind in their place. A place is free for it."""
        cdef PrefixRule* oldest[2][2]
        cdef PrefixRule* rule
        cdef PrefixRule* other
        cdef PrefixRule* spare = NULL
        cdef uint64_t hard, soft
        cdef uint32_t length = 0
        cdef int place, tail
        memset(oldest, 0, sizeof(oldest))
        for place in range(PREFIX_PLACES):
            rule = &self.rules[place]
            if not is_used(rule):
                spare = rule
                continue
            tail = 1 if rule.tail else 0
            if oldest[tail][0] == NULL or age_of(rule) < age_of(oldest[tail][0]):
                oldest[tail][1] = oldest[tail][0]
                oldest[tail][0] = rule
            elif oldest[tail][1] == NULL or age_of(rule) < age_of(oldest[tail][1]):
                oldest[tail][1] = rule
        tail = 0
        if oldest[0][1] == NULL or oldest[1][1] != NULL and age_of(oldest[1][1]) < age_of(oldest[0][1]):
            tail = 1
        rule = oldest[tail][0]
        other = oldest[tail][1]
        while (
            length < rule.length and length < other.length and length < PREFIX_MOST
            and rule.text[length] == other.text[length]
        ):
            length += 1
        hard = max(rule.hard, other.hard)
        soft = max(rule.soft, other.soft)
        if length == 0 or spare == NULL:
            raise_to(&self.head.everything.hard, hard)
            raise_to(&self.head.everything.soft, soft)
        else:
            self.place_rule(spare, rule.text, length, tail, hard, soft)
        self.drop_rule(rule)
        self.drop_rule(other)
        atomic_add_relaxed(&self.head.prefixes_merged, 1)

    cdef void drop_rule(self, PrefixRule* rule) noexcept nogil:
        """Frees the place of a rule. What it says is said by another one by now; who missed that reads again."""
        atomic_add_release(&self.head.prefixes, 1)
        atomic_store_release(&rule.hard, 0)
        atomic_store_release(&rule.soft, 0)

    cdef void place_rule(
        self, PrefixRule* rule, const unsigned char* text, size_t length, bint tail, uint64_t hard, uint64_t soft
    ) noexcept nogil:
        """Writes a rule into a free place. Who still reads the one that was there sees that `prefixes` has changed."""
        atomic_fence_release()
        rule.tail = tail
        rule.length = <uint32_t>length
        memcpy(rule.text, text, length)
        raise_to(&self.head.reach, rule - self.rules + 1)
        atomic_store_release(&rule.soft, soft)
        atomic_store_release(&rule.hard, hard)

    # -- presence ------------------------------------------------------------------------------------------------------

    cdef uint64_t sent(self, uint64_t mark) noexcept nogil:
        # The number first, then the map: see above.
        cdef uint64_t number = atomic_load_acquire(&self.head.number)
        cdef int newer = atomic_load_acquire(&self.head.turn) & 1
        cdef uint64_t bit = ((mark >> 32) * (self.width * 8)) >> 32
        cdef uint64_t* word = <uint64_t*>(self.maps + newer * self.width) + (bit >> 6)
        cdef uint64_t mask = <uint64_t>1 << (bit & 63)
        if not atomic_load_acquire(word) & mask and not atomic_set_bits(word, mask) & mask:
            if atomic_add_relaxed(&self.head.marked[newer], 1) + 1 >= self.width * 2:
                self.turn_maps()
        return number

    cdef bint is_present(self, uint64_t mark) noexcept nogil:
        cdef uint64_t bit = ((mark >> 32) * (self.width * 8)) >> 32
        cdef uint64_t mask = <uint64_t>1 << (bit & 63)
        cdef uint64_t* words = <uint64_t*>self.maps + (bit >> 6)
        return (atomic_load_acquire(words) | atomic_load_acquire(words + self.width // 8)) & mask != 0

    cdef void turn_maps(self) noexcept nogil:
        """Clears a slice of the older map; with the last one it becomes the newer map."""
        cdef int newer
        cdef uint64_t begin, size
        cdef PurgesHead* head = self.head
        if shared_lock_take(head.map_lock.lock) < 0:
            return              # its holder was stopped: the next that marks tries again
        newer = head.turn & 1
        if head.marked[newer] >= self.width * 2:
            if head.cleared == 0:
                # What may be marked nowhere else counts as purged.
                raise_to(&head.everything.hard, min(head.start[newer], atomic_load_acquire(&head.number) + 1))
                self.count_purge()
            begin = min(head.cleared, self.width)
            size = min(self.width - begin, <uint64_t>SLICE)
            memset(self.maps + (1 - newer) * self.width + begin, 0, size)
            head.cleared = begin + size
            if head.cleared == self.width:
                newer = 1 - newer
                atomic_store_relaxed(&head.marked[newer], 0)
                # Until its start is known nothing is sure to be in it.
                atomic_store_release(&head.start[newer], UNKNOWN)
                head.cleared = 0
                atomic_add_release(&head.turn, 1)
                # Who reads this number, or a later one, sees the turn.
                atomic_store_release(&head.start[newer], self.count_purge())
                head.turns += 1
        shared_lock_drop(head.map_lock.lock)

    # -- for Python ----------------------------------------------------------------------------------------------------

    @property
    def number(self) -> int:
        """How many purges there were, turns of the presence maps included."""
        return atomic_load_acquire(&self.head.number)

    def tag(self, str kind not None, bytes text not None) -> int:
        """The hash by which what has this text is purged. Raises ValueError for an unknown kind."""
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is not a kind of tag: {', '.join(KINDS)}")
        return self.tag_of(KINDS.index(kind), PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    def begin(self, uint64_t uri) -> int:
        """Marks a URI, whose request is to be sent now: the number of the object that it becomes."""
        return self.sent(uri)

    def purge_tag(self, uint64_t tag, *, bint soft=False) -> None:
        """Purges what has a tag, in all processes, before it returns. Raises ValueError for 0, which tag() never is."""
        if tag == 0:
            raise ValueError("0 is not a valid tag")
        self.write_tag(tag, soft)

    def purge_prefix(self, bytes prefix not None, *, bint path=False, bint soft=False) -> None:
        """Purges addresses that begin with a prefix, or whose path does. An empty one purges everything."""
        self.write_prefix(<const unsigned char*>PyBytes_AS_STRING(prefix), PyBytes_GET_SIZE(prefix), path, soft)

    def purge_everything(self, *, bint soft=False) -> None:
        """Purges everything."""
        self.write_everything(soft)

    def invalidate(self, uint64_t uri) -> bool:
        """Purges a URI that an unsafe request has changed. False: nothing of it was ever asked for, nothing to do."""
        return self.changed(uri, uri)

    def stats(self):
        """What was purged, and how often without need."""
        cdef PurgesHead* head = self.head
        return PurgeStats(
            atomic_load_relaxed(&head.number), atomic_load_relaxed(&head.purges_by_tag),
            atomic_load_relaxed(&head.purges_by_prefix), atomic_load_relaxed(&head.purges_of_everything),
            atomic_load_relaxed(&head.unneeded), atomic_load_relaxed(&head.floors_raised),
            atomic_load_relaxed(&head.prefixes_merged), atomic_load_relaxed(&head.turns),
        )


cdef inline bint is_used(const PrefixRule* rule) noexcept nogil:
    return rule.hard != 0 or rule.soft != 0


cdef inline uint64_t age_of(const PrefixRule* rule) noexcept nogil:
    return age(rule.hard, rule.soft)


cdef inline bint covers(const PrefixRule* rule, const PrefixRule* other) noexcept nogil:
    """Whether one purges all that another does."""
    return (
        rule.tail == other.tail and rule.length <= other.length and rule.length <= PREFIX_MOST
        and rule.hard >= other.hard and age(rule.hard, rule.soft) >= other.soft
        and memcmp(rule.text, other.text, rule.length) == 0
    )


assert sizeof(PrefixRule) == 256 and sizeof(TagBucket) == 3 * LINE
