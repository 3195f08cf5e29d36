"""Triton's log: nothing is lost, nothing grows without end, and containers read it on stderr."""

import io
import os
import subprocess
import sys

import pytest
from fovea_server import EmbeddedServer
from fovea_server.log_file import LogFile, LogReader

from . import graphs

PRINT = "import sys; [print('line', i, file=sys.stderr if i % 2 else sys.stdout, flush=True)"


def printed(log, lines):
    """A reader that has seen a process print numbered lines."""
    command = [sys.executable, "-c", f"{PRINT} for i in range({lines})]"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        reader = LogReader(process.stdout, log)
        reader.start()
        process.wait()
        reader.drain()
    return reader


def test_every_line_is_in_the_file_and_in_the_echo(tmp_path):
    copied = io.StringIO()
    log = LogFile(tmp_path / "logs" / "triton.log", max_bytes=0, backups=0, echo=copied)
    log.open()
    reader = printed(log, 500)
    log.close()
    expected = [f"line {number}" for number in range(500)]
    assert (tmp_path / "logs" / "triton.log").read_text().splitlines() == expected
    assert copied.getvalue().splitlines() == expected
    assert reader.text().splitlines() == expected


def test_a_full_file_makes_room_and_the_oldest_part_goes(tmp_path):
    log = LogFile(tmp_path / "triton.log", max_bytes=1000, backups=2)
    printed(log, 1000)
    log.close()
    parts = sorted(tmp_path.iterdir())
    assert [part.name for part in parts] == ["triton.log", "triton.log.1", "triton.log.2"]
    assert all(part.stat().st_size <= 1000 for part in parts)
    assert parts[0].read_text().splitlines()[-1] == "line 999"


@pytest.mark.server
def test_a_server_with_a_rotating_log_is_watched_and_stopped_as_usual(tmp_path, options):
    graphs.add_linear(tmp_path / "models", "linear")
    path = tmp_path / "triton.log"
    settings = {"log_path": path, "log_max_bytes": 2000, "log_backups": 1, "verbosity": 1}
    with EmbeddedServer(options(tmp_path / "models", **settings)) as server:
        assert server.models == ["linear"]
        assert server.stop() == 0
    assert sorted(os.listdir(tmp_path)) == ["models", "triton.log", "triton.log.1"]
    assert path.stat().st_size <= 2000
