"""``fastgate status``: what a running gateway does."""

import click

from fastgate.cli.maintenance import describe
from fastgate.cli.running import ask, choose


@click.command()
@click.option("--pid", type=int, help="Process id of the gateway; needed when several run.")
def status(pid: int | None) -> None:
    """Show the process, addresses, configuration file and workers of a running gateway."""
    _, path = choose(pid)
    answer = ask(path, "status", 5.0)
    lines = {
        "pid": answer["pid"],
        "state": answer["state"],
        "addresses": ", ".join(answer["addresses"]),
        "uptime": _spell(answer["uptime"]),
        "file": answer["file"] or "none",
        "generation": f"{answer['generation']} ({answer['routes']} route{'' if answer['routes'] == 1 else 's'})",
    }
    if answer["maintenance"]["closed"] or answer["maintenance"]["switched"]:
        lines["maintenance"] = describe(answer["maintenance"], answer["routes"])
    for name, value in lines.items():
        click.echo(f"{name:<11} {value}")
    for worker in answer["workers"]:
        click.echo(f"{'worker ' + str(worker['slot']):<11} {_describe(worker)}")


def _describe(worker: dict[str, int | bool | None]) -> str:
    if worker["pid"] is None:
        return "not running; a new worker is starting"
    return f"pid {worker['pid']}, generation {worker['generation']}{'' if worker['ready'] else ', not ready'}"


def _spell(seconds: float) -> str:
    """``3.2 s``, ``4 min 10 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole} s"
