"""The example plugin, built and installed as a package: its own tests pass, a gateway finds it by its entry point."""

import asyncio
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from server.harness import program

from fastgate.testing import RawClient, RecordingUpstream

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples" / "plugin"
MAIN = "import sys; from fastgate.cli import main; main()"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package was installed into, built from a copy: a build leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(PLUGIN, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run([*install, "--target", str(folder / "site"), str(folder / "source")], folder)
    return folder / "site"


def environment(site: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return {**inherited, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}


def run(command: list[str], folder: Path, **options: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass(site: Path, tmp_path: Path) -> None:
    shutil.copytree(PLUGIN / "tests", tmp_path / "tests")
    shutil.copy(PLUGIN / "pyproject.toml", tmp_path)
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-W", "error"]
    said = run([*test, str(tmp_path)], tmp_path, env=environment(site))
    assert "12 passed" in said


def test_it_has_types(site: Path) -> None:
    assert (site / "fastgate_tenant" / "py.typed").exists()


def test_its_configuration_is_checked_with_its_options(site: Path, tmp_path: Path) -> None:
    file = shutil.copy(PLUGIN / "gateway.toml", tmp_path)
    command = [sys.executable, "-c", MAIN, "check", str(file)]
    assert run(command, tmp_path, env=environment(site)) == f"{file} is valid: 1 route, 1 upstream\n"


async def test_a_gateway_finds_it_by_its_name(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.harness.environment", lambda: environment(site))
    settings = tomllib.loads((PLUGIN / "gateway.toml").read_text())
    assert "use" not in settings["plugins"][0]
    async with RecordingUpstream() as upstream:
        text = (PLUGIN / "gateway.toml").read_text().replace("port = 8080", "port = 0\nworkers = 1")
        file = tmp_path / "gateway.toml"
        file.write_text(text.replace("127.0.0.1:5000", f"127.0.0.1:{upstream.port}"))
        async with program(MAIN, "serve", str(file)) as server:
            port = await server.complete(1)
            for tenant, status in ((b"acme", 200), (b"initech", 403)):
                async with RawClient(port) as client:
                    request = b"GET /api/x HTTP/1.1\r\nhost: x\r\nx-tenant: %b\r\n\r\n" % tenant
                    assert (await client.request(request)).status == status
            server.process.terminate()
            await asyncio.wait_for(server.left(), 15)
            assert "requests by tenant: {'acme': 1}" in server.text
