"""What a probe remembers, and about which server."""

import time

import pytest
from fovea_server import probe_memory
from fovea_server.probe_memory import Memory


@pytest.fixture
def path(tmp_path):
    return tmp_path / "probe" / "8000.json"


def test_a_later_probe_finds_what_an_earlier_one_saw(path):
    memory = Memory("1 since 2", answered={"detect"})
    memory.silent_s({"worker": 5})
    memory.record(ready=False)
    assert probe_memory.save(path, memory)
    assert probe_memory.load(path, "1 since 2") == memory


def test_nothing_is_known_about_another_run_of_the_server(path):
    probe_memory.save(path, Memory("1 since 2", answered={"detect"}))
    assert probe_memory.load(path, "1 since 3") == Memory("1 since 3")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"server": "s", "waiting": 1, "answered": []}'])
def test_a_damaged_file_counts_as_none(path, text):
    path.parent.mkdir(mode=0o700)
    path.write_text(text)
    assert probe_memory.load(path, "s") == Memory("s")


def test_a_file_that_others_may_write_is_not_believed(path):
    probe_memory.save(path, Memory("s", answered={"detect"}))
    path.chmod(0o666)
    assert probe_memory.load(path, "s") == Memory("s")


def test_a_link_is_not_followed(path, tmp_path):
    probe_memory.save(path, Memory("s", answered={"detect"}))
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    assert probe_memory.load(path, "s") == Memory("s")


def test_nothing_is_written_into_a_folder_that_others_may_write(path):
    path.parent.mkdir()
    path.parent.chmod(0o777)
    assert not probe_memory.save(path, Memory("s"))
    assert not path.exists()


def test_the_folder_and_the_file_are_this_users_alone(path):
    probe_memory.save(path, Memory("s"))
    assert [p.stat().st_mode & 0o777 for p in (path.parent, path)] == [0o700, 0o600]


def test_only_a_model_that_stands_still_at_every_probe_is_silent():
    memory = Memory("s")
    memory.silent_s({"moves": 1, "stands": 1, "pauses": 1})
    memory.silent_s({"moves": 2, "stands": 1})
    time.sleep(0.02)
    silent = memory.silent_s({"moves": 3, "stands": 1, "pauses": 1})
    assert silent["stands"] >= 0.02
    assert silent["moves"] == silent["pauses"] == 0


def test_failing_is_counted_from_the_first_failure_to_the_last():
    memory = Memory("s")
    memory.record(ready=False)
    assert memory.failing_s() == 0
    time.sleep(0.02)
    memory.record(ready=False)
    assert memory.failing_s() >= 0.02
    memory.record(ready=True)
    assert memory.failing_s() == 0


def test_a_failure_long_ago_says_nothing_about_now():
    now = time.monotonic()
    assert Memory("s", failing_since=now - 900, seen=now - 10).failing_s() == pytest.approx(890)
    assert Memory("s", failing_since=now - 900, seen=now - 300).failing_s() == 0
