"""What an installation gets: the source archive builds, and the wheel has the core, its types and nothing generated."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("distribution")

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "fastgate" / "_core"
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in CORE.rglob("*.pyx"))
PROBES = "fastgate/_core/probes/"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, made from a copy so that nothing is written beside the sources."""
    place = tmp_path_factory.mktemp("sdist")
    tree = place / "tree"
    subprocess.run(["tar", "-C", ROOT, "-cf", place / "tree.tar", *skipped(), "."], check=True)
    tree.mkdir()
    subprocess.run(["tar", "-C", tree, "-xf", place / "tree.tar"], check=True)
    build(tree, place, "--sdist")
    return next(place.glob("*.tar.gz"))


def skipped() -> list[str]:
    names = [".git", ".venv", "build", "dist", "*.egg-info", ".*_cache", "benchmarks/.work"]
    return [f"--exclude=./{name}" for name in names]


def build(source: Path, target: Path, kind: str) -> None:
    """Runs ``python -m build`` with the tools that are installed here: no index is asked; compiled the quickest way."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", target, source],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"CFLAGS": "-O0 -g0"},
        cwd=target,
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]


def test_the_source_archive_has_the_sources_and_nothing_generated(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for module in MODULES:
        assert {f"{module}{kind}" for kind in (".pyx", ".pyi")} <= names
    parts = [path for kind in ("h", "pxi", "pxd") for path in CORE.rglob(f"*.{kind}")]
    assert {path.relative_to(ROOT).as_posix() for path in parts} <= names
    assert {"LICENSE", "README.md", "CHANGELOG.md", "Makefile", "setup.py", "pyproject.toml"} <= names
    assert {"fastgate/py.typed", "tests/conftest.py", ".ci/run"} <= names
    assert [name for name in names if name.endswith((".so", ".pyc"))] == []
    assert [name for name in names if name.endswith(".c") and not name.startswith("benchmarks/")] == []


@pytest.mark.timeout(400)
def test_the_source_archive_builds_a_wheel_that_works(sdist: Path, tmp_path: Path) -> None:
    source = unpacked(sdist, tmp_path)
    translated = ROOT / "build" / "cython"
    if translated.exists():
        # What Cython made of the same files: it is as new as they are, and half of the time.
        shutil.copytree(translated, source / "build" / "cython")
    build(source, tmp_path, "--wheel")
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    for module in MODULES:
        if not module.startswith(PROBES):
            kinds = (".pxd", ".pyi") if (ROOT / f"{module}.pxd").exists() else (".pyi",)
            assert {f"{module}{kind}" for kind in kinds} <= names
            assert any(name.startswith(f"{module}.") and name.endswith(".so") for name in names)
    assert [name for name in names if name.startswith(PROBES)] == []
    assert "fastgate/py.typed" in names
    python = {f"fastgate/{path.relative_to(ROOT / 'fastgate')}" for path in (ROOT / "fastgate").rglob("*.py")}
    assert {name for name in python if not name.startswith(PROBES)} <= names
    foreign = {name.partition("/")[0] for name in names} - {"fastgate"}
    assert all(name.endswith(".dist-info") for name in foreign), foreign
    assert [name for name in names if name.endswith((".c", ".pyx", ".pyc", ".html"))] == []

    program = """
import sys, fastgate
from fastgate import Router
router = Router()
router.add("/users/{id}", 1)
assert fastgate.__file__.startswith(sys.argv[1]), fastgate.__file__
assert router.match("GET", "/users/42").params == {"id": "42"}
"""
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed"), "PYTHONSAFEPATH": "1"}
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, env=environment, cwd=tmp_path)


def unpacked(sdist: Path, place: Path) -> Path:
    subprocess.run(["tar", "-C", place, "-xf", sdist], check=True)
    return place / sdist.name.removesuffix(".tar.gz")
