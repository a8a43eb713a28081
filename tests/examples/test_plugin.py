"""The example plugin: its own tests pass, and it is found by its entry point as an installed package is."""

import configparser
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fastgate.config import GatewayConfig
from fastgate.testing import RawClient, RecordingUpstream, start_gateway

PLUGIN = Path(__file__).parents[2] / "examples" / "plugin"


def test_its_own_tests_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(PLUGIN)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an installer leaves behind."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    folder = tmp_path / "fastgate_tenant-0.1.0.dist-info"
    folder.mkdir()
    folder.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    entry_points = configparser.ConfigParser()
    entry_points.read_dict(project["entry-points"])
    with folder.joinpath("entry_points.txt").open("w") as stream:
        entry_points.write(stream)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(PLUGIN))


@pytest.mark.usefixtures("installed")
async def test_the_example_configuration_runs() -> None:
    text = read(PLUGIN / "gateway.toml")
    async with RecordingUpstream() as upstream:
        text["gateway"] = {"port": 0, "access_log": {"path": ""}}
        text["upstreams"]["backend"]["targets"] = [f"127.0.0.1:{upstream.port}"]
        GatewayConfig.from_dict(text)
        async with start_gateway(text) as gateway, RawClient(gateway.port) as client:
            for tenant, status in ((b"acme", 200), (b"initech", 403)):
                request = b"GET /api/x HTTP/1.1\r\nhost: x\r\nx-tenant: %b\r\n\r\n" % tenant
                assert (await client.request(request)).status == status


def read(path: Path) -> dict:
    return tomllib.loads(path.read_text())
