"""The configurations that are committed, and the command line."""

import re
import shutil
import sys
import tomllib

import pytest

from benchmarks.__main__ import options_of, parse
from benchmarks.lanes import NAMES, load_lane
from benchmarks.load import Origin, request_head, run_load
from benchmarks.logged import counted
from benchmarks.machine import Unavailable, cores, interpreter_of
from benchmarks.proxies import KINDS, PEERS, Proxy, fill, free_port
from benchmarks.render import TABLES
from fastgate.config import GatewayConfig

VALUES = {"port": 8080, "origin": 5000, "folder": "/tmp/x", "connections": 1000}
LOGGED = {"buffer": "", "format": "json"}
CACHED = {"nopush": "on", "memory": "/dev/shm/x", "cache": "one"}
MANY = {"workers": 2, "targets": '"127.0.0.1:5000"', "servers": "server 127.0.0.1:5000;"}


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_name_in_a_configuration_is_filled_in(kind):
    text = fill((PEERS / kind.file).read_text(), {**VALUES, **MANY, **LOGGED, **CACHED, **kind.tls(None)})
    assert not [name for name in re.findall(r"@(\w+)@", text) if name != "name"]
    assert "8080" in text
    assert "5000" in text


@pytest.mark.parametrize("name", ["fastgate", "fastgate-cache", "fastgate-crowd"])
def test_our_own_configuration_is_valid(name):
    kind = KINDS[name]
    text = fill((PEERS / kind.file).read_text(), {**VALUES, **kind.tls(None)})
    config = GatewayConfig.from_dict(tomllib.loads(text))
    assert config.gateway.access_log.path == ""
    assert config.gateway.keepalive == 300


def test_every_lane_has_a_title_and_a_table():
    assert set(NAMES) == set(TABLES)
    for name in NAMES:
        assert load_lane(name).TITLE


def test_the_command_line():
    options = options_of(parse(["plain", "idle", "--rounds", "3", "--only", "nginx,fastgate"]))
    assert (options.rounds, options.only, options.idle) == (3, ("nginx", "fastgate"), 10_000)
    assert options_of(parse(["--quick"])).rounds == 2


@pytest.mark.parametrize("arguments", [["nonsense"], ["plain", "--only", "apache"]])
def test_unknown_words_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as refused:
        parse(arguments)
    assert refused.value.code == 2
    assert "there are" in capsys.readouterr().err


def test_an_absent_peer_is_skipped_with_a_word(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program, path=None: None if program == "nginx" else "/usr/bin/env")
    with pytest.raises(Unavailable, match="nginx is not installed"):
        Proxy("nginx", free_port(), None)


def test_a_checkout_that_was_not_built_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        parse(["log", "--before", str(tmp_path)])
    assert "make build" in capsys.readouterr().err


@pytest.mark.needs("cc", "taskset")
def test_a_gateway_that_does_not_come_from_its_checkout_is_no_contender(tmp_path):
    python = interpreter_of(tmp_path)
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    with Origin(cores()[1]) as origin, pytest.raises(Unavailable, match="does not run what is in|ended at once"):
        Proxy("fastgate", origin.port, None, checkout=tmp_path)


@pytest.mark.needs("cc", "taskset")
def test_an_answer_without_a_line_in_the_log_is_wrong():
    values = {"format": "json"}
    with Origin(cores()[1]) as origin, Proxy("fastgate-log", origin.port, None, values=values) as proxy:
        load = run_load(cores()[1], proxy.port, request_head(), duration=0.2)
        assert counted(proxy, load, 5.0).wrong == 0
        assert counted(proxy, load, 0.2).errors == {"not logged": load.requests}  # it has been emptied


@pytest.mark.needs("cc", "taskset")
def test_our_own_gateway_is_started_with_it_and_stopped():
    with Origin(cores()[1]) as origin:
        with Proxy("fastgate", origin.port, None) as proxy:
            assert proxy.process.worker() != proxy.process.pid
        assert not proxy.process.running
        assert origin.counts()["requests"] == 1
