"""YAML files, read by PyYAML (the extra ``yaml``): safe constructors only, repeated keys refused."""

from typing import Any

from fastgate.config.errors import ConfigError, PathKeys, Problem


def load_yaml(text: str, source: str) -> Any:
    """The first document of a YAML text. Raises `ConfigError`."""
    try:
        import yaml
    except ImportError:
        raise _failure(source, "YAML needs PyYAML: pip install 'fastgate[yaml]'") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        _refuse_repeated(node, source)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        column = f", at column {mark.column + 1}" if mark else ""
        reason = error.problem or error.context or "malformed"
        raise _failure(source, f"not YAML: {reason}{column}", mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise _failure(source, f"not YAML: {str(error).splitlines()[0]}") from None
    except ConfigError:
        raise
    except RecursionError:
        raise _failure(source, "not YAML: nested too deeply") from None
    except ValueError as error:
        raise _failure(source, f"not YAML: {error}") from None
    finally:
        loader.dispose()


def yaml_lines(text: str) -> dict[PathKeys, int]:
    """The lines of keys and list elements; those of an alias are the lines of what it stands for."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    lines: dict[PathKeys, int] = {}
    try:
        _collect(loader.get_single_node(), (), lines, set())
    finally:
        loader.dispose()
    return lines


def _collect(node: Any, path: PathKeys, lines: dict[PathKeys, int], around: set[int]) -> None:
    if id(node) in around:
        return
    around.add(id(node))
    if node.id == "mapping":
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                for merged in value.value if value.id == "sequence" else [value]:
                    _collect(merged, path, lines, around)
                continue
            inner = (*path, str(key.value))
            lines[inner] = key.start_mark.line + 1
            _collect(value, inner, lines, around)
    elif node.id == "sequence":
        for number, value in enumerate(node.value):
            inner = (*path, number)
            lines[inner] = value.start_mark.line + 1
            _collect(value, inner, lines, around)
    around.discard(id(node))


def _refuse_repeated(root: Any, source: str) -> None:
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.id == "sequence":
            waiting.extend(node.value)
        elif node.id == "mapping":
            first: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.id == "scalar" and first.setdefault((key.tag, key.value), line) != line:
                    earlier = first[key.tag, key.value]
                    raise _failure(source, f'the key "{key.value}" was given already on line {earlier}', line)
                waiting.append(value)


def _failure(source: str, message: str, line: int | None = None) -> ConfigError:
    return ConfigError([Problem(path="", message=message, line=line, source=source)])
