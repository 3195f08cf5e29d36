"""What is assembled aside replaces the old folder completely or not at all."""

import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from export.assembly import aside, exclusive, link_or_copy, take_place


def make(folder: Path, generation: int) -> Path:
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "weights").write_text(str(generation))
    return folder


def test_while_a_folder_is_replaced_its_files_can_always_be_opened(tmp_path):
    served, seen, done = make(tmp_path / "served", 0), [], threading.Event()

    def read():
        while not done.is_set():
            try:
                seen.append(int((served / "1" / "weights").read_text()))
            except OSError as error:
                seen.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for generation in range(1, 200):
        with aside(tmp_path) as folder:
            take_place(make(folder / "new", generation), served)
    done.set()
    reader.join()
    assert seen == sorted(seen)
    assert (served / "1" / "weights").read_text() == "199"
    assert os.listdir(tmp_path) == ["served"]


def test_a_failure_aside_leaves_no_trace(tmp_path):
    with pytest.raises(RuntimeError), aside(tmp_path) as folder:
        make(folder / "new", 1)
        raise RuntimeError
    assert not os.listdir(tmp_path)


def test_the_first_folder_simply_appears(tmp_path):
    take_place(make(tmp_path / "new", 1), tmp_path / "served")
    assert os.listdir(tmp_path) == ["served"]


def assemble(folder: Path, turns) -> None:
    with exclusive(folder, lambda: turns.put("waited")):
        turns.put("entered")


def test_two_processes_take_turns_and_leftovers_are_removed(tmp_path):
    turns = multiprocessing.get_context("spawn").Queue()
    (tmp_path / ".assembling-of-a-killed-one").mkdir()
    with exclusive(tmp_path):
        assert not (tmp_path / ".assembling-of-a-killed-one").exists()
        other = multiprocessing.get_context("spawn").Process(
            target=assemble, args=(tmp_path, turns)
        )
        other.start()
        assert turns.get(timeout=60) == "waited"
        assert turns.empty()
    assert turns.get(timeout=60) == "entered"
    other.join()


def test_a_linked_file_is_the_same_file(tmp_path):
    (tmp_path / "weights").write_bytes(b"12")
    link_or_copy(tmp_path / "weights", tmp_path / "new" / "weights")
    assert os.path.samefile(tmp_path / "weights", tmp_path / "new" / "weights")
