"""kill -9 of the command in the middle, then again: each picture is there once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fovea_search import Store

from tests.client.fake_triton import Call, FakeTriton
from tests.search import colours
from tests.search.conftest import paths_of

PICTURES, BATCH, CONCURRENCY, KILLS = 40, 4, 4, 2


def start(photos: Path, store: Path, url: str) -> subprocess.Popen[str]:
    command = ["-m", "fovea_search", "index", str(photos), "--store", str(store), "--url", url]
    more = ["--batch", str(BATCH), "--concurrency", str(CONCURRENCY), "--json"]
    return subprocess.Popen(
        [sys.executable, *command, *more], stdout=subprocess.PIPE, text=True, env=os.environ
    )


def wait_for(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "the job does not get on"
        time.sleep(0.005)


def test_each_picture_is_there_once_after_kills_in_the_middle(tmp_path) -> None:
    def slow(call: Call):
        time.sleep(0.02)
        return colours.answer(call)

    triton = FakeTriton(behave=slow, parameters=colours.parameters()).start()
    photos, store = tmp_path / "photos", tmp_path / "store"
    written = colours.write(photos, PICTURES)
    for number in range(1, KILLS + 1):
        job = start(photos, store, triton.url)
        done = number * PICTURES // (KILLS + 2)
        wait_for(lambda least=done: len(triton.calls) > least)
        job.send_signal(signal.SIGKILL)
        job.communicate()
    before = len(triton.calls)
    last = start(photos, store, triton.url)
    summary = json.loads(last.communicate(timeout=60)[0])
    triton.stop()
    opened = Store.open(store)
    assert paths_of(opened) == [str(path) for path in written]
    assert opened.count("kind = 'object'") == 2 * PICTURES
    assert 0 < summary["indexed"] < PICTURES
    assert summary["indexed"] + summary["unchanged"] == PICTURES
    # A kill costs what was not committed: a batch, and running pictures.
    asked = sum(call.model == "embed_objects" for call in triton.calls)
    assert asked <= PICTURES + KILLS * (BATCH + CONCURRENCY)
    assert before < len(triton.calls)
