"""Which engines belong on this machine: the key of its GPU and its TensorRT.

A TensorRT engine runs only on the compute capability and with the TensorRT version that it was
built for. So engines lie in `STORE/<key>/`, and a server takes those of its own key or none:

    engine_key.py show                                   sm90-trt10.14.1
    engine_key.py build --store /engines -- COMMAND      runs COMMAND --out STORE/<key>, once
    engine_key.py link --store /engines --to /run/fovea/models

Needs Python alone: the server image has no tensorrt module, but the library both images share.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

LIBRARY_FOLDERS = (
    Path("/usr/lib/x86_64-linux-gnu"),
    Path("/usr/lib/aarch64-linux-gnu"),
    Path("/usr/local/tensorrt/lib"),
)
_LIBRARY = re.compile(r"libnvinfer\.so\.(\d+)\.(\d+)\.(\d+)")
_ASK_GPU = ("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
REPOSITORY = "model_repository"


class KeyUnknown(Exception):
    """This machine has no GPU, several kinds of them, or no TensorRT."""


def tensorrt_version(folders: tuple[Path, ...] = LIBRARY_FOLDERS) -> str:
    """The version in the name of the newest libnvinfer."""
    found = [
        tuple(int(part) for part in match.groups())
        for folder in folders
        for path in folder.glob("libnvinfer.so.*")
        if (match := _LIBRARY.fullmatch(path.name))
    ]
    if not found:
        raise KeyUnknown(f"no libnvinfer.so.X.Y.Z in {', '.join(map(str, folders))}")
    return ".".join(map(str, max(found)))


def compute_capability() -> str:
    """The GPU's, as one number: 90 for 9.0."""
    try:
        answer = subprocess.run(_ASK_GPU, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as exc:
        raise KeyUnknown(f"no GPU to be seen: {exc}") from exc
    kinds = set(answer.split())
    if len(kinds) != 1:
        raise KeyUnknown(f"expected GPUs of one compute capability, got {sorted(kinds)}")
    return kinds.pop().replace(".", "")


def key() -> str:
    """The name of this machine's folder of engines."""
    return f"sm{compute_capability()}-trt{tensorrt_version()}"


def build(store: Path, command: list[str]) -> Path:
    """Fills the folder of this machine's key by `command --out FOLDER`, unless it is there.

    It is built aside and renamed, so that no server ever sees half of it.
    """
    target = store / key()
    if target.is_dir():
        return target
    aside = store / f".building-{target.name}"
    shutil.rmtree(aside, ignore_errors=True)
    subprocess.run([*command, "--out", str(aside)], check=True)
    os.rename(aside, target)
    return target


def link(store: Path, to: Path) -> Path:
    """Makes `to` point to the model repository of this machine's key."""
    repository = store / key() / REPOSITORY
    if not repository.is_dir():
        raise KeyUnknown(f"{repository} is not there: has the job that builds engines ended?")
    to.unlink(missing_ok=True)
    to.symlink_to(repository)
    return repository


def main(argv: list[str] | None = None) -> int:
    """Prints the key or the folder; 1 and the reason when there is none."""
    parser = argparse.ArgumentParser(prog="engine_key.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("verb", choices=("show", "build", "link"))
    parser.add_argument("--store", type=Path, default=Path("/engines"))
    parser.add_argument("--to", type=Path, default=Path("/run/fovea/models"))
    words = sys.argv[1:] if argv is None else argv
    split = words.index("--") if "--" in words else len(words)
    arguments = parser.parse_args(words[:split])
    try:
        if arguments.verb == "show":
            print(key())
        elif arguments.verb == "build":
            print(build(arguments.store, words[split + 1 :]))
        else:
            print(link(arguments.store, arguments.to))
    except (KeyUnknown, subprocess.CalledProcessError) as exc:
        print(f"engine_key: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
