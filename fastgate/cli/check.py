"""``fastgate check``: every error of a configuration, then what is suspicious in it."""

import sys

import click

from fastgate.cli.configuration import config_argument, import_from_here, load_with_document


@click.command()
@config_argument
@click.option("--strict", is_flag=True, help="Exit with 1 when there are warnings.")
def check(config: str | None, strict: bool) -> None:
    """Say everything that is wrong with a configuration, then what is suspicious.

    CONFIG is a TOML, JSON or YAML file, by default fastgate.toml. Plugins are imported, their classes looked up and
    their options read where the class declares them; none is constructed. Exit code 0 when it can be used, 2 when it
    cannot.
    """
    from fastgate.config.load import locate
    from fastgate.config.warnings import find_warnings

    loaded, document = load_with_document(config)
    problems = []
    if loaded.plugins:
        from fastgate.gateway.plugins import find_problems

        import_from_here()
        problems += find_problems(loaded.plugins)
    if any(route.body_schema for route in loaded.routes):
        from fastgate.policies.body_schema import find_problems as find_schema_problems

        problems += find_schema_problems(loaded)
    if problems:
        from fastgate.config import ConfigError

        raise ConfigError(locate(document, problems))
    warnings = locate(document, find_warnings(loaded, document.data))
    for warning in warnings:
        place = warning.source if warning.line is None else f"{warning.source}:{warning.line}"
        click.echo(f"{place}: warning: {': '.join(part for part in (warning.path, warning.message) if part)}")
    counts = [_count(len(loaded.routes), "route"), _count(len(loaded.upstreams), "upstream")]
    if warnings:
        counts.append(_count(len(warnings), "warning"))
    click.echo(f"{document.source} is valid: {', '.join(counts)}")
    if warnings and strict:
        sys.exit(1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
