"""fastgate cache: purge, stats and look, against a gateway with two workers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import pytest
from cli.test_running import _place, fastgate, serving
from server.harness import free_port
from server.test_cache import by

from fastgate._core.memory.cache.cache_file import needed
from fastgate.cli import CommandError
from fastgate.cli.cache import purge
from fastgate.cli.running import ask, choose

place = _place


def write(port: int, more: str = "") -> None:
    Path("fastgate.toml").write_text(
        f'[gateway]\nport = {port}\nworkers = 2\n[gateway.access_log]\npath = ""\n{more}\n'
        '[[plugins]]\nname = "keeper"\nuse = "server.cache_keeper:Keeper"\n'
        '[[routes]]\nname = "all"\npath = "/*"\npolicies = [{ use = "keeper" }]\nrespond = {}\n'
    )


@asynccontextmanager
async def kept(*names: str) -> AsyncIterator[int]:
    """A gateway in which these are stored."""
    port = free_port()
    write(port)
    async with serving() as server:
        await server.says(r"worker \d is ready")
        for name in names:
            assert await by(0, port, f"/put/{name}")
        yield port


async def test_purge_is_in_effect_in_all_workers() -> None:
    async with kept("one", "two") as port:
        assert await fastgate("cache", "purge", "http://shop.example/one") == (0, "purged\n", "")
        for slot in range(2):
            assert await by(slot, port, "/state/one") == "purged"
            assert await by(slot, port, "/state/two") == "fresh"
        assert await fastgate("cache", "purge", "--prefix", "/tw", "--soft") == (0, "made stale\n", "")
        assert await by(1, port, "/state/two") == "stale"
        assert await fastgate("cache", "purge", "--route", "all") == (0, "purged\n", "")
        assert await by(1, port, "/state/two") == "purged"
        assert await by(1, port, "/put/two")
        assert await fastgate("cache", "purge", "--tag", "news") == (0, "purged\n", "")
        assert await by(0, port, "/state/two") == "purged"
        assert await by(1, port, "/put/two")
        assert await fastgate("cache", "purge", "--everything") == (0, "purged\n", "")
        assert await by(0, port, "/state/two") == "purged"
        code, out, err = await fastgate("cache", "purge", "--route", "al")
        assert (code, out, err) == (1, "", 'fastgate: unknown route "al", did you mean "all"?\n')
        _, path = await asyncio.to_thread(choose, None)
        with pytest.raises(CommandError, match="unknown field `ur`"):
            await asyncio.to_thread(ask, path, "purge", 5, ur="http://shop.example/one")
        code, out, err = await fastgate("cache", "purge", "/one")
        assert (code, out) == (1, "")
        assert err == (
            'fastgate: url: "/one" has no scheme and no host: use a whole URL such as "https://host/path"\n'
        )


async def test_what_stats_shows() -> None:
    async with kept("one", "two"):
        await fastgate("cache", "purge", "--tag", "news")
        code, out, err = await fastgate("cache", "stats")
        assert (code, err) == (0, "")
        lines = dict(re.split(r" {2,}| (?=\d|nothing)", line, maxsplit=1) for line in out.splitlines())
        assert list(lines) == [
            "stored", "live share", "segments", "stores", "evictions", "expired", "damaged", "cut", "flights",
            "purges", "floors",
        ]  # fmt: skip
        assert re.fullmatch(r"\d+ B of 256\.0 MB, 2 objects", lines["stored"])
        assert re.fullmatch(r"100\.0% of \d+ B written", lines["live share"])
        assert re.fullmatch(r"\d+ of 1\.0 MB: \d+ free, 0 pinned", lines["segments"])
        assert lines["stores"] == "2, 0 refused (full), 0 too large"
        assert lines["flights"] == "0 led, 0 followed, 0 alone, 0 full, 0 taken over"
        assert lines["purges"] == "1 by tag, 0 by prefix, 0 of everything, 0 unneeded"
        assert len({line.index(value) for line, value in zip(out.splitlines(), lines.values(), strict=True)}) == 1
        code, out, err = await fastgate("cache", "stats", "--json")
        found = json.loads(out)
        assert (code, err, found["objects"], found["purges"]["tag"]) == (0, "", 2, 1)
        assert "ok" not in found


async def test_look_shows_every_variant_of_a_url() -> None:
    async with kept("one") as port:
        code, out, err = await fastgate("cache", "look", "http://shop.example/one")
        assert (code, err) == (0, "")
        assert re.fullmatch(
            r"http://shop\.example/one\n"
            r"  state  fresh\n"
            r"  status 200 OK\n"
            r"  age    \d+ s, fresh for [56]\d s\n"
            r"  size   \d+ B, 0 uses\n"
            r"  route  000102030405060708090a0b0c0d0e0f\n",
            out,
        )
        await by(0, port, "/purge/one")
        code, out, _ = await fastgate("cache", "look", "http://shop.example/one", "--json")
        (answer,) = json.loads(out)["answers"]
        assert (code, answer["state"], answer["vary"]) == (0, "purged", {})
        for url in ("http://shop.example/two", "https://shop.example/one", "http://shop.example/one?a"):
            assert await fastgate("cache", "look", url) == (1, "nothing is stored for this URL\n", "")
        code, out, err = await fastgate("cache", "look", "shop.example/one")
        assert (code, out) == (1, "")
        assert err.startswith('fastgate: url: "shop.example/one" is not a valid URL: use http or https')


@pytest.mark.parametrize(
    "words",
    [[], ["--route", "a", "--tag", "b"], ["http://a/", "--everything"], ["--soft"]],
    ids=["nothing", "two", "url and option", "only soft"],
)
def test_exactly_one_thing_is_purged(words: list[str]) -> None:
    with pytest.raises(click.UsageError, match="give a URL, or exactly one of --prefix, --route, --tag and --everyth"):
        purge.main(words, standalone_mode=False)


async def test_memory_that_is_too_small() -> None:
    port = free_port()
    write(port, '[cache]\nmax_bytes = "1MB"')
    said = f"cache.max_bytes: 1MB is too small: 2 workers need {needed(2) // 1024}KB at least"
    code, out, err = await fastgate("check")
    assert (code, out, err) == (2, "", f"fastgate.toml:7: {said}\n")
    assert await fastgate("serve") == (2, "", f"fastgate: {said}\n")
    write(port, f'[cache]\nmax_bytes = "{needed(2) // 1024}KB"')
    assert (await fastgate("check"))[0] == 0


async def test_a_reload_cannot_change_the_size() -> None:
    async with kept() as port:
        write(port, '[cache]\nmax_bytes = "64MB"')
        code, _, err = await fastgate("reload")
        assert code == 1
        assert "cache.max_bytes: cannot change while the gateway runs; restart it to use 67108864" in err
