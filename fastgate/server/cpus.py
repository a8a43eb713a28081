"""How many workers ``workers = "auto"`` is."""

import math
import os
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """The CPUs this process may use: the smaller of its affinity and its cgroup's ``cpu.max``, rounded up; at least 1.

    The limits of the cgroups above count too, and the quota of version 1 where that is mounted.
    """
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        allowed = os.cpu_count() or 1
    return max(1, min([allowed, *map(math.ceil, _quotas(root))]))


def _quotas(root: Path) -> list[float]:
    found = []
    mounted = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for group in _upwards(path):
                quota, _, period = _read(mounted / group / "cpu.max").partition(" ")
                found.append(_ratio(quota, period))
        elif "cpu" in controllers.split(","):
            for group in _upwards(path):
                base = mounted / controllers / group
                if not base.exists():
                    base = mounted / "cpu" / group
                found.append(_ratio(_read(base / "cpu.cfs_quota_us"), _read(base / "cpu.cfs_period_us")))
    return [each for each in found if each is not None]


def _upwards(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    return ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]


def _ratio(quota: str, period: str) -> float | None:
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return None
    return share if share > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
