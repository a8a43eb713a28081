"""When a file counts as changed."""

import os
from pathlib import Path

from fastgate.server.watch import FileWatch


def looks(watch: FileWatch, times: int) -> list[bool]:
    return [watch.look() for _ in range(times)]


def test_a_change_counts_once_when_it_has_settled(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    watch = FileWatch(str(file))
    assert looks(watch, 3) == [False, False, False]
    file.write_text("another")
    assert looks(watch, 4) == [False, True, False, False]


def test_a_file_that_is_still_written_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("")
    watch = FileWatch(str(file))
    for _ in range(5):
        with file.open("a") as stream:
            stream.write("more")
        assert not watch.look()
    assert watch.look()


def test_one_that_is_missing_is_about_to_be_replaced(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    watch = FileWatch(str(file))
    file.unlink()
    assert looks(watch, 3) == [False, False, False]
    file.write_text("one")
    assert looks(watch, 2) == [False, True]


def test_same_size_and_time_in_another_file_is_a_change(tmp_path: Path) -> None:
    file, fresh = tmp_path / "a", tmp_path / "b"
    file.write_text("one")
    fresh.write_text("two")
    for each in (file, fresh):
        os.utime(each, (1000, 1000))
    watch = FileWatch(str(file))
    fresh.rename(file)
    assert looks(watch, 2) == [False, True]


def test_what_happens_between_its_making_and_the_first_look_is_not_missed(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("one")
    watch = FileWatch(str(file))
    file.write_text("more")
    assert watch.look() is False
    assert watch.look() is True


def test_a_link_that_leads_elsewhere_is_a_change(tmp_path: Path) -> None:
    link = tmp_path / "link"
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    link.symlink_to("a")
    watch = FileWatch(str(link))
    link.unlink()
    link.symlink_to("b")
    assert looks(watch, 2) == [False, True]
