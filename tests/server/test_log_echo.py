"""Triton's log on stderr, for containers."""

import io
import time

from fovea_server.log_echo import LogEcho


def test_what_is_appended_is_copied_once_and_nothing_is_lost_at_the_end(tmp_path):
    path, copied = tmp_path / "logs" / "triton.log", io.StringIO()
    echo = LogEcho(path, copied)
    echo.start()
    deadline = time.monotonic() + 10
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with path.open("a") as log:
        log.write("loading\n")
    while not copied.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)
    with path.open("a") as log:
        log.write("ready\n")
    echo.stop()
    assert copied.getvalue() == "loading\nready\n"
