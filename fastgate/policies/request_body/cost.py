"""How much work one body can make of a JSON Schema that refers to itself.

A validator goes through a schema and a value together. Where two alternatives lead into the same place of the value,
and from there to themselves again, the work doubles with each level of the value: 2**30 for some hundred bytes. In the
words of automata: the schema is one that reads the path to a place, and what counts is in how many ways it can.

`most_ways` is a bound of that per level, without a proof that all of these ways are gone: a validator may see by a
``const`` that an alternative does not apply, or remember what it has found out about a place.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

_HERE = ("not", "if", "then", "else")
_HERE_EACH = ("allOf", "anyOf", "oneOf")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DATA = frozenset(("enum", "const", "default", "examples", "required", "type"))


class _Step(NamedTuple):
    """Into a place of the value."""

    owner: int
    place: str  # "member" or "element"
    which: str  # "named", "like" (a pattern, or any), "other" (those that the owner has no name or number for)
    name: object
    target: int


def most_ways(schema: Any) -> int:
    """In how many ways, at most, a validator comes from one place of a value to one below it and can go on for ever.

    0: nothing leads in a circle.
    """
    return _Graph(schema).most_ways()


def levels_within(ways: int, work: int, most: int) -> int:
    """How many levels a body may have so that there are at most ``work`` ways through it; ``most`` where any may."""
    levels = most
    while ways > 1 and ways**levels > work:
        levels -= 1
    return levels


class _Graph:
    def __init__(self, schema: Any) -> None:
        self._root = schema
        self._numbers: dict[int, int] = {}
        self._schemas: list[dict[str, Any]] = []
        self._anchors: dict[str, Any] = {}
        self._find_anchors(schema)
        self.here: list[list[int]] = []
        self.steps: list[list[_Step]] = []
        waiting = [self._number(schema)]
        while waiting:
            number = waiting.pop()
            if number < 0 or self.here[number] or self.steps[number]:
                continue
            self._read(number)
            waiting += self.here[number]
            waiting += [step.target for step in self.steps[number]]
        self.circling = self._find_circling()

    def most_ways(self) -> int:
        most = 0
        for number in self.circling:
            reached = self._reached_here(number)
            if any(count > 1 for count in reached.values()):
                most = max(most, 2, *reached.values())
            steps = [step for each in reached for step in self.steps[each] if step.target in self.circling]
            for step in steps:
                most = max(most, sum(_meet(step, other) for other in steps))
        return most

    def _reached_here(self, number: int) -> Counter[int]:
        """The schemas that the same value has to do with, each with the ways to it, a second look at one included."""
        ways: Counter[int] = Counter((number,))
        waiting = [number]
        while waiting:
            for target in self.here[waiting.pop()]:
                if target in self.circling:
                    ways[target] += 1
                    if ways[target] == 1:
                        waiting.append(target)
        return ways

    def _find_circling(self) -> set[int]:
        """Schemas from which a reference leads in a circle: what is left when the others are taken away."""
        targets = [{*here, *(step.target for step in steps)} for here, steps in zip(self.here, self.steps, strict=True)]
        sources: list[list[int]] = [[] for _ in targets]
        for number, each in enumerate(targets):
            for target in each:
                sources[target].append(number)
        left = [len(each) for each in targets]
        waiting = [number for number, count in enumerate(left) if not count]
        gone = set(waiting)
        while waiting:
            for source in sources[waiting.pop()]:
                left[source] -= 1
                if not left[source]:
                    gone.add(source)
                    waiting.append(source)
        return set(range(len(targets))) - gone

    def _number(self, schema: Any) -> int:
        """Of a schema that is an object; -1: it is a boolean, which has nothing below it."""
        if not isinstance(schema, dict):
            return -1
        number = self._numbers.setdefault(id(schema), len(self._schemas))
        if number == len(self._schemas):
            self._schemas.append(schema)
            self.here.append([])
            self.steps.append([])
        return number

    def _read(self, number: int) -> None:
        schema = self._schemas[number]
        here, steps = self.here[number], self.steps[number]
        for target in self._applied_here(schema):
            other = self._number(target)
            if other >= 0:
                here.append(other)
        for place, which, name, target in _below(schema):
            other = self._number(target)
            if other >= 0:
                steps.append(_Step(number, place, which, name, other))

    def _applied_here(self, schema: dict[str, Any]) -> Iterator[Any]:
        for key in _HERE:
            yield schema.get(key)
        for key in _HERE_EACH:
            yield from _listed(schema.get(key))
        for key in ("dependentSchemas", "dependencies"):
            yield from _tabled(schema.get(key)).values()
        for key in _REFERENCES:
            if isinstance(schema.get(key), str):
                yield self._referred(schema[key])

    def _referred(self, reference: str) -> Any:
        """What a reference within the schema means; the whole where that cannot be told."""
        fragment = reference.partition("#")[2]
        if not fragment.startswith("/"):
            return self._anchors.get(fragment, self._root)
        found = self._root
        for step in fragment[1:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict):
                found = found.get(step)
            elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
                found = found[int(step)]
            else:
                return self._root
        return self._root if found is None else found

    def _find_anchors(self, schema: Any) -> None:
        if isinstance(schema, dict):
            for key in ("$anchor", "$dynamicAnchor"):
                if isinstance(schema.get(key), str):
                    self._anchors.setdefault(schema[key], schema)
            for key, value in schema.items():
                if key not in _DATA:
                    self._find_anchors(value)
        elif isinstance(schema, list):
            for value in schema:
                self._find_anchors(value)


def _below(schema: dict[str, Any]) -> Iterator[tuple[str, str, object, Any]]:
    """What a schema says of members and elements: place, which of them, name or number, and the schema of it."""
    for name, target in _tabled(schema.get("properties")).items():
        yield "member", "named", name, target
    for pattern, target in _tabled(schema.get("patternProperties")).items():
        yield "member", "like", pattern, target
    for key in ("additionalProperties", "unevaluatedProperties"):
        yield "member", "other", key, schema.get(key)
    items = schema.get("items")
    for number, target in enumerate(_listed(schema.get("prefixItems")) or _listed(items)):
        yield "element", "named", number, target
    for key in ("items", "additionalItems", "unevaluatedItems"):
        yield "element", "other", key, schema.get(key)
    yield "element", "like", None, schema.get("contains")


def _meet(one: _Step, other: _Step) -> bool:
    """Whether there is a place that both lead into."""
    if one == other:
        return True
    if one.place != other.place:
        return False
    if one.which == other.which == "named":
        return one.name == other.name
    return one.owner != other.owner or "like" in (one.which, other.which)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _tabled(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
