"""`python -m export.rtx_build ONNX PROFILE SM`: one build with TensorRT for RTX, as JSON.

It is a separate process, so that a crash inside the library is a result and its memory is freed.
Needs no GPU.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from export.errors import EngineError
from export.profiles import Profile
from export.to_engine import LIBRARIES, build, unsupported_nodes
from fovea.specs import from_json, to_json

RTX = LIBRARIES["tensorrt_rtx"]


@dataclass(frozen=True)
class Outcome:
    """unsupported: nodes that the parser refuses, by name. error: why nothing was built.

    bytes: of the engine. seconds: to parse and build.
    """

    unsupported: list[str]
    built: bool
    bytes: int
    seconds: float
    error: str = ""


def try_build(path: Path, profile: Profile, compute_capability: str) -> Outcome:
    """Parse and build one graph for one target."""
    start = time.perf_counter()
    size, error, refused = 0, "", unsupported_nodes(path, RTX)
    try:
        size = len(build(path, profile, RTX, compute_capability))
    except EngineError as failed:
        error = str(failed)
    seconds = round(time.perf_counter() - start, 2)
    return Outcome(refused, bool(size), size, seconds, error)


def isolated_build(path: Path, profile: Profile, compute_capability: str) -> Outcome:
    """`try_build` in a separate process; a crash of that process is a result too."""
    start = time.perf_counter()
    command = [sys.executable, "-m", __spec__.name, str(path), to_json(profile), compute_capability]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        return Outcome(**json.loads(lines[-1]))
    seconds = round(time.perf_counter() - start, 2)
    return Outcome([], False, 0, seconds, f"the process ended with {done.returncode}")


if __name__ == "__main__":
    outcome = try_build(Path(sys.argv[1]), from_json(Profile, sys.argv[2]), sys.argv[3])
    print(json.dumps(asdict(outcome)))
