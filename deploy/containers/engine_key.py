"""Names the engines that belong on this machine: by the export, the GPU, TensorRT and fovea.

A TensorRT engine runs with the version that built it, and best on exactly its kind of GPU: two of
the same compute capability (A10 and A40) have other memory and other fast kernels. TensorRT's
hardware compatibility would let them share slower engines, so each kind has its own:

    STORE/export/          what `python -m export --runtime tensorrt --no-engines` wrote
    STORE/<key>/           its engines for one kind of GPU; done.json is written last
    STORE/.building-<key>/ what an unfinished build has so far: a retry continues there

    engine_key.py show --store /engines       nvidia-l4-sm89-trt10.14.1-fovea0.1.0-4f1d09c2a7b3
    engine_key.py build --store /engines -- COMMAND      runs COMMAND FOLDER, unless done
    engine_key.py link --store /engines --to /run/fovea/models

It needs no tensorrt module, which the server image lacks, but the library that both images have.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

LIBRARY_FOLDERS = (
    Path("/usr/lib/x86_64-linux-gnu"),
    Path("/usr/lib/aarch64-linux-gnu"),
    Path("/usr/local/tensorrt/lib"),
)
_LIBRARY = re.compile(r"libnvinfer\.so\.(\d+)\.(\d+)\.(\d+)")
_ASK_CAPABILITY = ("nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader")
_ASK_NAMES = ("nvidia-smi", "-L")
_GPU = re.compile(r"^GPU \d+: (.*) \(UUID:", re.MULTILINE)
_MIG = re.compile(r"^\s+MIG (\S+)\s+Device", re.MULTILINE)
EXPORT = "export"
EXPORT_MANIFEST = "manifest.json"
REPOSITORY = "model_repository"
GRAPHS = "onnx"
DONE = "done.json"


class KeyUnknown(Exception):
    """This machine has no GPU, several kinds of them, no TensorRT, or the store no export."""


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


def gpu() -> str:
    """Name, MIG profile if there is one, and compute capability: "nvidia-l4-sm89"."""
    listed = _ask(_ASK_NAMES)
    profiles, names = set(_MIG.findall(listed)), set(_GPU.findall(listed))
    capabilities = set(_ask(_ASK_CAPABILITY).split())
    for kind, found in (("name", names), ("compute capability", capabilities)):
        if len(found) != 1:
            raise KeyUnknown(f"expected GPUs of one {kind}, got {sorted(found)}")
    if len(profiles) > 1:
        raise KeyUnknown(f"expected one MIG profile, got {sorted(profiles)}")
    words = [*names, *(f"mig-{profile}" for profile in profiles)]
    words.append(f"sm{capabilities.pop().replace('.', '')}")
    return re.sub(r"[^a-z0-9.]+", "-", " ".join(words).lower()).strip("-")


def _ask(command: tuple[str, ...]) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as exc:
        raise KeyUnknown(f"no GPU found: {exc}") from exc


def fovea_version() -> str:
    """The version installed in this image."""
    try:
        return version("fovea")
    except PackageNotFoundError as exc:
        raise KeyUnknown("the package fovea is not installed here") from exc


def export_hash(store: Path) -> str:
    """SHA-256 of the export's manifest, which has those of every checkpoint, graph and code."""
    manifest = store / EXPORT / EXPORT_MANIFEST
    if not manifest.is_file():
        raise KeyUnknown(f"{manifest} is not there: has the job that exports ended?")
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def key(store: Path) -> str:
    """The name of the folder with this machine's engines."""
    parts = (f"trt{tensorrt_version()}", f"fovea{fovea_version()}", export_hash(store)[:12])
    return "-".join((gpu(), *parts))


def is_done(folder: Path, export: str) -> bool:
    """Whether a folder has all engines of an export, given by its hash."""
    path = folder / DONE
    return path.is_file() and json.loads(path.read_text()).get("export_sha256") == export


def build(store: Path, command: list[str]) -> Path:
    """Fill the folder of this machine's key with `command FOLDER`, unless it is done.

    It is built aside and renamed, so no server ever sees half of it. The engines that a failed
    build has finished stay: `python -m export.engines` builds again only what changed.
    """
    export, target = export_hash(store), store / key(store)
    if is_done(target, export):
        return target
    aside = store / f".building-{target.name}"
    if target.is_dir() and not aside.exists():
        os.rename(target, aside)
    shutil.rmtree(target, ignore_errors=True)
    _take_over(store / EXPORT, aside)
    subprocess.run([*command, str(aside)], check=True)
    (aside / DONE).write_text(json.dumps({"key": target.name, "export_sha256": export}) + "\n")
    os.rename(aside, target)
    return target


def _take_over(export: Path, aside: Path) -> None:
    """Put the export's files over those there; its large graphs are only linked."""
    aside.mkdir(exist_ok=True)
    shutil.copyfile(export / EXPORT_MANIFEST, aside / EXPORT_MANIFEST)
    shutil.copytree(export / REPOSITORY, aside / REPOSITORY, dirs_exist_ok=True)
    graphs = aside / GRAPHS
    graphs.unlink(missing_ok=True)
    graphs.symlink_to(Path("..") / EXPORT / GRAPHS)


def link(store: Path, to: Path) -> Path:
    """Make `to` point to the model repository of this machine's key."""
    folder = store / key(store)
    if not is_done(folder, export_hash(store)):
        raise KeyUnknown(f"{folder} is not done: has the job that builds engines ended?")
    to.unlink(missing_ok=True)
    to.symlink_to(folder / REPOSITORY)
    return folder / REPOSITORY


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)
Store = Annotated[Path, typer.Option(help="Folder of the export and of all engines.")]
STORE = Path("/engines")


@contextmanager
def _one_line() -> Iterator[None]:
    """Exit with 1 and the reason if there is no key or no folder."""
    try:
        yield
    except (KeyUnknown, OSError, subprocess.CalledProcessError) as exc:
        print(f"engine_key: {exc}", file=sys.stderr)
        raise typer.Exit(1) from exc


@app.command("show")
def show_command(store: Store = STORE) -> None:
    """Print this machine's key."""
    with _one_line():
        print(key(store))


@app.command("build")
def build_command(command: list[str], store: Store = STORE) -> None:
    """Run COMMAND FOLDER for this machine's key, unless it is done, and print the folder."""
    with _one_line():
        print(build(store, command))


@app.command("link")
def link_command(
    store: Store = STORE,
    to: Annotated[Path, typer.Option(help="The link.")] = Path("/run/fovea/models"),
) -> None:
    """Make a link to the model repository of this machine's key, and print its target."""
    with _one_line():
        print(link(store, to))


if __name__ == "__main__":
    app()
