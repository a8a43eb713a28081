"""``workers = "auto"``: the smaller of affinity and cgroup."""

import os
from pathlib import Path

import pytest

from fastgate.server.cpus import usable_cpus


@pytest.fixture(autouse=True)
def sixteen_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_a_cgroup_it_is_the_affinity(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == 16


@pytest.mark.parametrize(
    ("limit", "cpus"),
    [
        ("max 100000\n", 16),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("3200000 100000\n", 16),
    ],
)
def test_cpu_max_of_version_2(tmp_path: Path, limit: str, cpus: int) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/kubepods/pod1/c1\n")
    write(tmp_path / "sys/fs/cgroup/kubepods/pod1/c1/cpu.max", limit)
    assert usable_cpus(tmp_path) == cpus


def test_a_limit_of_a_group_above_counts(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/a/b\n")
    write(tmp_path / "sys/fs/cgroup/a/b/cpu.max", "800000 100000\n")
    write(tmp_path / "sys/fs/cgroup/a/cpu.max", "300000 100000\n")
    assert usable_cpus(tmp_path) == 3


def test_inside_a_container_the_own_group_is_the_root(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "400000 100000\n")
    assert usable_cpus(tmp_path) == 4


@pytest.mark.parametrize("mounted", ["cpu,cpuacct", "cpu"])
def test_the_quota_of_version_1(tmp_path: Path, mounted: str) -> None:
    write(tmp_path / "proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/x\n")
    write(tmp_path / f"sys/fs/cgroup/{mounted}/x/cpu.cfs_quota_us", "250000\n")
    write(tmp_path / f"sys/fs/cgroup/{mounted}/x/cpu.cfs_period_us", "100000\n")
    assert usable_cpus(tmp_path) == 3


def test_no_quota_of_version_1(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "4:cpu:/\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert usable_cpus(tmp_path) == 16
