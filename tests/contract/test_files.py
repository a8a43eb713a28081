"""What lies in the repository and what does not."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "fastgate" / "_core"
LONGEST = 700


def tracked() -> list[Path]:
    """Everything git follows or would follow, or every file where the sources came without git."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        pytest.skip("the sources are not in a working tree of git")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_generated_file_is_tracked() -> None:
    generated = {".so", ".o", ".a", ".pyc", ".pyo", ".pyd", ".whl", ".gz"}
    found = [path.relative_to(ROOT) for path in tracked() if path.suffix in generated]
    found += [path.relative_to(ROOT) for path in tracked() if path.suffix in {".c", ".cpp"} and CORE in path.parents]
    assert found == []


def test_no_binary_is_tracked_but_pictures() -> None:
    pictures = {".png", ".svg", ".ico", ".webp"}
    texts = [path for path in tracked() if path.suffix not in pictures]
    assert [path.relative_to(ROOT) for path in texts if b"\0" in path.read_bytes()] == []


def test_no_source_file_is_longer_than_a_reader_bears() -> None:
    kinds = {".py", ".pyx", ".pxd", ".pxi", ".pyi", ".h", ".c", ".js", ".sh"}
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked()
        if path.suffix in kinds and (lines := len(path.read_text().splitlines())) > LONGEST
    }
    assert long == {}


def test_every_compiled_module_is_described() -> None:
    """To Python. Its .pxd is for modules that are compiled against it: without, they would not compile."""
    modules = sorted(CORE.rglob("*.pyx"))
    assert modules
    assert [module.name for module in modules if not module.with_suffix(".pyi").exists()] == []


def test_every_compiled_module_begins_with_its_theory() -> None:
    lacking = []
    for module in CORE.rglob("*.pyx"):
        code = [line for line in module.read_text().splitlines() if line.strip() and not line.startswith("#")]
        if not code or not code[0].startswith(('"""', 'r"""')):
            lacking.append(module.name)
    assert lacking == []


def test_what_tests_need_is_installed_where_they_run_by_themselves() -> None:
    marks = [re.findall(r"mark\.needs\((.*)\)", path.read_text()) for path in (ROOT / "tests").rglob("test_*.py")]
    needed = {name for found in marks for arguments in found for name in re.findall(r'"([\w.-]+)"', arguments)}
    assert needed
    script = (ROOT / ".ci" / "run").read_text()
    assert {name for name in needed if not re.search(rf"[ :\"]{re.escape(name)}[ \"]", script)} == set()


def test_each_requirement_is_named_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for listed in (project["dependencies"], *project["optional-dependencies"].values()):
        names = [re.split(r"[\[<>=!~; ]", each, maxsplit=1)[0].lower() for each in listed]
        assert sorted(names) == sorted(set(names))


def test_nothing_that_was_built_hides_a_source() -> None:
    """A compiled module goes before a source of its name: one of an older tree would be loaded in its place."""
    built = [path for path in CORE.rglob("*.so") if not (path.parent / f"{path.name.partition('.')[0]}.pyx").exists()]
    assert [path.relative_to(ROOT) for path in built] == []
