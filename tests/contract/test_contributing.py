"""``CONTRIBUTING.md``: the files that it names are there, and the duty that it shows is one."""

import re
from pathlib import Path

import pytest

from fastgate._core.memory.segment import Segment
from fastgate.gateway.duties import DUTIES
from fastgate.gateway.duties.contract import Duty, Subscriber
from fastgate.gateway.duties.dispatch import Duties, Subscribers

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = {name for name in re.findall(r"`((?:fastgate|docs|tests)/[\w./]+)`", PAGE) if "NAME" not in name}
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)", PAGE))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_that_it_names_is_there(name: str) -> None:
    assert (ROOT / name).exists()


def test_the_table_of_duties_is_the_list() -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| `gateway/duties/(\w+)\.py` \|", ARCHITECTURE)
    assert rows == [(duty.topic, duty.__module__.rpartition(".")[2]) for duty in DUTIES]


async def test_the_duty_that_it_shows_is_one() -> None:
    (text,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, type] = {}
    exec(text, names)
    duty, subscriber = names["PricesDuty"], names["Prices"]
    assert issubclass(duty, Duty)
    assert issubclass(subscriber, Subscriber)
    running = Duties([duty], Segment.create(targets=1), lambda topic, data: None)
    subscribers = Subscribers([duty], lambda topic, data: None)
    subscribers.told("prices", b"new")
    assert subscribers.of(subscriber).table == b"new"
    await running.stop()
