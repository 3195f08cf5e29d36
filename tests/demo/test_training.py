"""The command line that the training scripts share."""

import importlib
from pathlib import Path

import pytest
import torch

from demo.training import Arguments, command_line

SCRIPTS = sorted(path.stem for path in Path("demo").glob("train_*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_training_script_has_a_command(script):
    assert callable(importlib.import_module(f"demo.{script}").main)


def test_what_is_typed_reaches_the_training(monkeypatch):
    threads = str(torch.get_num_threads())
    typed = ["train", "--steps", "3", "--seed", "5", "--threads", threads, "--resume"]
    monkeypatch.setattr("sys.argv", typed)
    given = []
    with pytest.raises(SystemExit) as ended:
        command_line(given.append, 7)
    assert ended.value.code == 0
    assert given == [Arguments(steps=3, seed=5, resume=True, export_only=False)]


def test_only_a_training_of_two_cycles_can_refine(monkeypatch):
    threads = str(torch.get_num_threads())
    monkeypatch.setattr("sys.argv", ["train", "--threads", threads, "--refine"])
    given = []
    with pytest.raises(SystemExit) as ended:
        command_line(given.append, 7, two_cycles=True)
    assert ended.value.code == 0
    assert given == [Arguments(steps=7, seed=0, resume=False, export_only=False, only_refine=True)]
    with pytest.raises(SystemExit) as ended:
        command_line(given.append, 7)
    assert ended.value.code == 2
    assert len(given) == 1
