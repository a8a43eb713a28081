"""``fastgate check``: every error of a configuration, then what is suspicious in it."""

import logging
import sys
from typing import TYPE_CHECKING

import click

from fastgate.cli.configuration import config_argument, import_from_here, read

if TYPE_CHECKING:
    from fastgate.config import GatewayConfig, Problem
    from fastgate.config.check.findings import Finding


@click.command()
@config_argument
@click.option("--strict", is_flag=True, help="Exit with code 1 if there are warnings.")
def check(config: str | None, strict: bool) -> None:
    """Check a configuration and list every error, then every warning.

    CONFIG is a TOML, JSON or YAML file, by default fastgate.toml. The command also reads every file that it names:
    certificates, keys, authorities, users, schemas. It imports plugins and checks their options, but does not
    construct them. Exit code: 0 if the configuration is valid, 2 if it has errors.
    """
    from fastgate.config import ConfigError
    from fastgate.config.check.files import check_files
    from fastgate.config.errors import parse_path, render_path
    from fastgate.config.read.load import locate
    from fastgate.policies.chain import find_warnings

    loaded, document = read(config)
    problems = check_files(loaded) + _check_memory(loaded)
    known = {render_path(keys) for keys, _ in problems}
    found, said = _open_everything(loaded)
    problems += [(parse_path(each.path), each.message) for each in found if each.path not in known]
    if problems:
        raise ConfigError(locate(document, problems))
    warnings = locate(document, [*find_warnings(loaded, document.data), *said])
    for warning in warnings:
        place = warning.source if warning.line is None else f"{warning.source}:{warning.line}"
        click.echo(f"{place}: warning: {': '.join(part for part in (warning.path, warning.message) if part)}")
    counts = [_count(len(loaded.routes), "route"), _count(len(loaded.upstreams), "upstream")]
    if warnings:
        counts.append(_count(len(warnings), "warning"))
    click.echo(f"{document.source} is valid: {', '.join(counts)}")
    if warnings and strict:
        sys.exit(1)


def _check_memory(config: "GatewayConfig") -> "list[Finding]":
    """Whether the memory of the response cache is enough for as many workers as would start on this machine."""
    from fastgate.config.errors import parse_path
    from fastgate.server.cpus import usable_cpus
    from fastgate.state.cache_memory import cache_problems

    workers = config.gateway.workers
    found = cache_problems(config, usable_cpus() if workers == "auto" else workers)
    return [(parse_path(each.path), each.message) for each in found]


def _open_everything(config: "GatewayConfig") -> "tuple[list[Problem], list[Finding]]":
    """What a gateway with this configuration would find wrong, and what it would warn of, as it starts."""
    import asyncio  # on use, with the gateway itself

    from fastgate.gateway.building import find_problems

    import_from_here()
    said: list[Finding] = []
    listener = _Listener(said)
    log = logging.getLogger("fastgate")
    log.addHandler(listener)
    try:
        return asyncio.run(find_problems(config)), said
    finally:
        log.removeHandler(listener)


class _Listener(logging.Handler):
    """Takes what is logged as warnings about the configuration."""

    def __init__(self, said: "list[Finding]") -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        from fastgate.config.errors import parse_path

        place, _, message = record.getMessage().partition(": ")
        self._said.append((parse_path(place), message))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
