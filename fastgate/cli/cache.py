"""``fastgate cache``: purges, counts and finds stored answers of a running gateway."""

import json
from typing import Any

import click

from fastgate.cli.running import ask, choose


class _InOrder(click.Group):
    """Lists its commands in the order of this file."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, invoke_without_command=True)
@click.pass_context
def cache(ctx: click.Context) -> None:
    """Purge, count and find answers in the response cache of a running gateway."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _pid_option(function: Any) -> Any:
    return click.option("--pid", type=int, help="Process id of the gateway; needed when several run.")(function)


def _timeout_option(function: Any) -> Any:
    option = click.option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        default=30.0,
        show_default=True,
        help="Seconds to wait for an answer.",
    )
    return option(function)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@cache.command()
@click.argument("url", required=False)
@click.option("--prefix", metavar="PREFIX", help="All that begins so: https://host/path, or /path of any host.")
@click.option("--route", metavar="NAME", help="All that a route has stored.")
@click.option(
    "--tag", metavar="TAG", help='All with this Cache-Tag or Surrogate-Key; "https://host GROUP": of Cache-Groups.'
)
@click.option("--everything", is_flag=True, help="All that is stored.")
@click.option("--soft", is_flag=True, help="Make it stale: the gateway validates it before it uses it.")
@_pid_option
@_timeout_option
def purge(
    url: str | None,
    prefix: str | None,
    route: str | None,
    tag: str | None,
    everything: bool,
    soft: bool,
    pid: int | None,
    timeout: float,
) -> None:
    """Purge stored answers: those of a URL, or those that one option selects.

    URL has a scheme and a host. When the command returns, no worker uses what was purged, and what was being fetched
    is not stored. Purging what is not stored is not an error.
    """
    given = {"url": url, "prefix": prefix, "route": route, "tag": tag, "everything": everything}
    if sum(value not in (None, False) for value in given.values()) != 1:
        raise click.UsageError("give a URL, or exactly one of --prefix, --route, --tag and --everything")
    _, path = choose(pid)
    ask(path, "purge", timeout, **given, soft=soft)
    click.echo("made stale" if soft else "purged")


@cache.command()
@_json_option
@_pid_option
@_timeout_option
def stats(as_json: bool, pid: int | None, timeout: float) -> None:
    """Show what the response cache holds, and what was counted since the start."""
    _, path = choose(pid)
    answer = ask(path, "cache_stats", timeout)
    del answer["ok"]
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for name, value in lines_of(answer).items():
        click.echo(f"{name:<11} {value}")
    for route, counts in sorted(answer["routes"].items()):
        click.echo(f"route {route}: {_route_line(counts)}")


ANSWERED = ("hits", "stale", "revalidated", "collapsed")


def _route_line(counts: dict[str, int]) -> str:
    """What happened to the requests of a route, in one line."""
    answered = sum(counts.get(name, 0) for name in ANSWERED)
    missed = sum(value for name, value in counts.items() if name.startswith("miss"))
    asked = missed + counts.get("bypassed", 0)
    parts = [f"{counts[name]} {name}" for name in ANSWERED if name in counts]
    parts += [f"{asked} to the upstream", f"{counts.get('stored', 0)} stored"]
    if answered:
        parts.append(f"{_spell(counts.get('bytes_saved', 0))} from the store")
    return ", ".join(parts)


def lines_of(answer: dict[str, Any]) -> dict[str, str]:
    """What is counted, as it is shown."""
    flights, purges = answer["flights"], answer["purges"]
    written = answer["used_bytes"]
    return {
        "stored": f"{_spell(answer['bytes'])} of {_spell(answer['max_bytes'])}, {_count(answer['objects'], 'object')}",
        "live share": f"{answer['bytes'] / written:.1%} of {_spell(written)} written" if written else "nothing written",
        "segments": f"{answer['segments']} of {_spell(answer['segment_size'])}: "
        f"{answer['free']} free, {answer['pinned']} pinned",
        "stores": f"{answer['stores']}, {answer['refused']} refused (full), {answer['too_large']} too large",
        "evictions": str(answer["evictions"]),
        "expired": str(answer["expired"]),
        "damaged": str(answer["damaged"]),
        "cut": _count(answer["readers_cut"], "response"),
        "flights": ", ".join(f"{flights[name]} {name.replace('_', ' ')}" for name in flights),
        "purges": f"{purges['tag']} by tag, {purges['prefix']} by prefix, {purges['everything']} of everything, "
        f"{purges['unneeded']} unneeded",
        "floors": f"{purges['floors_raised']} raised, {purges['prefixes_merged']} prefixes merged, "
        f"{purges['turns']} turns of the presence maps",
    }


@cache.command()
@click.argument("url")
@_json_option
@_pid_option
@_timeout_option
def look(url: str, as_json: bool, pid: int | None, timeout: float) -> None:
    """Show what is stored for a URL, in all its variants.

    URL has the scheme and host of the client, and its path or the one that the upstream gets; without a query it finds
    the answers to all queries. The command goes through the whole store, which takes a while if that is large. Exit
    code: 1 if it finds nothing.
    """
    _, path = choose(pid)
    answer = ask(path, "look", timeout, url=url)
    if as_json:
        click.echo(json.dumps({"answers": answer["answers"], "complete": answer["complete"]}, indent=2))
    elif not answer["answers"]:
        click.echo("nothing is stored for this URL")
    else:
        click.echo("\n\n".join(map(_describe, answer["answers"])))
        if not answer["complete"]:
            click.echo(f"\nthere is more: only the first {len(answer['answers'])} were read")
    if not answer["answers"]:
        raise click.exceptions.Exit(1)


def _describe(answer: dict[str, Any]) -> str:
    """One stored answer in a few lines."""
    remaining = answer["remaining"]
    lifetime = f"fresh for {remaining:.0f} s" if remaining > 0 else f"stale for {-remaining:.0f} s"
    uses = "3 or more uses" if answer["uses"] == 3 else _count(answer["uses"], "use")
    lines = {
        "state": answer["state"],
        "status": answer["status"] or "none",
        "age": f"{answer['age']:.0f} s, {lifetime}",
        "size": f"{_spell(answer['size'])}, {uses}",
        "route": answer["namespace"],
    }
    if answer["upstream"]:
        lines["upstream"] = answer["upstream"]
    for name, value in answer["vary"].items():
        lines[f"vary {name}"] = "(none)" if value is None else value
    width = max(map(len, lines))
    return "\n".join([answer["url"], *(f"  {name:<{width}} {value}" for name, value in lines.items())])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _spell(size: int) -> str:
    """``512 B``, ``1.5 KB``, ``256.0 MB``."""
    for unit, bytes_of in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= bytes_of:
            return f"{size / bytes_of:.1f} {unit}"
    return f"{size} B"
