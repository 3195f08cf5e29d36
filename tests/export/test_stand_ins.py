"""Stand-ins on disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from safetensors.numpy import load_file

from export import stand_ins

ASKERS = 4


def test_whoever_asks_at_the_same_time_gets_the_same_whole_checkpoint(tmp_path: Path) -> None:
    barrier = Barrier(ASKERS)

    def ask(_: int) -> dict[str, Path]:
        barrier.wait()
        return stand_ins.write("align", "tiny", tmp_path)

    with ThreadPoolExecutor(ASKERS) as pool:
        first, *others = pool.map(ask, range(ASKERS))
    assert others == [first] * (ASKERS - 1)
    weights = load_file(first["align"] / "model.safetensors")
    again = stand_ins.write("align", "tiny", tmp_path / "alone")["align"]
    alone = load_file(again / "model.safetensors")
    assert weights.keys() == alone.keys()
    assert all((weights[name] == alone[name]).all() for name in alone)
