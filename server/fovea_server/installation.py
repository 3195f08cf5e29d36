"""Finds tritonserver on this machine and assembles a backend directory around it.

The PyPI wheel `nvidia-pytriton` keeps its python stubs in separate folders, one per Python version,
and has no onnxruntime backend; Triton's own container has both. The assembled folder is the same
for both: the python backend with the stub of the running Python, and fovea's Python onnxruntime
backend if no official one is installed.
"""

import hashlib
import importlib.util
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fovea_server.errors import ServerError, TritonserverNotFoundError, UnwritableError

OUR_BACKENDS = Path(__file__).parent / "backends"
OFFICIAL_ONNXRUNTIME = "libtriton_onnxruntime.so"
STUB = "triton_python_backend_stub"
_WHEEL_MODULE = "pytriton"
_WHEEL_LIBRARIES = "nvidia_pytriton.libs"
# The wheel requires numpy 1, which Python 3.13 does not have, so `fovea[server]` omits it there.
_INSTALL = (
    "pip install 'fovea[server]'"
    if sys.version_info < (3, 13)
    else "pip install --no-deps nvidia-pytriton==0.7.0"
)


@dataclass(frozen=True)
class BackendDirectory:
    """What one start of tritonserver needs.

    Attributes:
        tritonserver: the program.
        folder: value of `--backend-directory`.
        caches: value of `--cache-directory`.
        library_path: folders to put first in LD_LIBRARY_PATH.
        official_onnxruntime: whether the C++ onnxruntime backend serves, instead of fovea's.
    """

    tritonserver: Path
    folder: Path
    caches: Path
    library_path: tuple[Path, ...]
    official_onnxruntime: bool

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment of the server and of its stubs, which inherit it.

        The running interpreter's `bin` comes first on PATH: the stubs find their packages by it.
        """
        environment = dict(base)
        binaries = str(Path(sys.executable).parent)
        environment["PATH"] = os.pathsep.join([binaries, base.get("PATH", os.defpath)])
        libraries = [str(folder) for folder in self.library_path]
        if base.get("LD_LIBRARY_PATH"):
            libraries.append(base["LD_LIBRARY_PATH"])
        if libraries:
            environment["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
        return environment


def cache_folder() -> Path:
    """`$FOVEA_CACHE`, or `~/.cache/fovea` (honouring XDG_CACHE_HOME).

    Raises:
        UnwritableError: neither is set, and this user has no home.
    """
    if chosen := os.environ.get("FOVEA_CACHE"):
        return Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "fovea"
    try:
        return Path.home() / ".cache" / "fovea"
    except RuntimeError as exc:
        raise UnwritableError(f"no cache folder: {exc}; name one with FOVEA_CACHE") from exc


def unwritable(path: Path, exc: OSError) -> UnwritableError:
    """The error for a file below the cache folder that cannot be written."""
    return UnwritableError(
        f"cannot write {path}: {exc.strerror or exc}; "
        "name a folder that can be written with FOVEA_CACHE"
    )


def find_tritonserver() -> Path:
    """FOVEA_TRITONSERVER, else tritonserver on PATH, else the one in the wheel.

    Raises:
        TritonserverNotFoundError: none of these, or FOVEA_TRITONSERVER is not a program.
    """
    if chosen := os.environ.get("FOVEA_TRITONSERVER"):
        if not os.access(chosen, os.X_OK) or os.path.isdir(chosen):
            raise TritonserverNotFoundError(f"FOVEA_TRITONSERVER={chosen} is not a program")
        return Path(chosen).absolute()
    if on_path := shutil.which("tritonserver"):
        return Path(on_path).absolute()
    spec = importlib.util.find_spec(_WHEEL_MODULE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "tritonserver" / "bin" / "tritonserver"
        if program.is_file():
            return program
    raise TritonserverNotFoundError(
        "no tritonserver found: FOVEA_TRITONSERVER is not set, PATH has none, and the package "
        f"nvidia-pytriton is not installed. Install it with: {_INSTALL}"
    )


def prepare_backends() -> BackendDirectory:
    """Find tritonserver and return its complete backend directory, assembled if necessary.

    The assembled folder lies in the cache folder under a key of its sources. It is built aside and
    renamed into place, so servers that start at the same time cannot disturb each other.

    Raises:
        TritonserverNotFoundError: see find_tritonserver.
        ServerError: the installation has no python backend or no stub for the running Python.
        UnwritableError: the cache folder cannot be written.
    """
    program = find_tritonserver()
    root = program.resolve().parent.parent
    backends = root / "backends"
    official = (backends / "onnxruntime" / OFFICIAL_ONNXRUNTIME).is_file()
    complete = official and (backends / "python" / STUB).is_file()
    folder = backends if complete else _assembled(program, backends, official=official)
    return BackendDirectory(program, folder, root / "caches", _library_path(root, folder), official)


def _assembled(program: Path, backends: Path, *, official: bool) -> Path:
    stub = _stub(program.resolve().parent.parent)
    target = cache_folder() / "backends" / _key(program, stub)
    if target.is_dir():
        return target
    building = target.parent
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
        _assemble(building, backends, stub, official=official)
        building.chmod(0o755)
        os.rename(building, target)
    except OSError as exc:
        # A server that started at the same time has put its equal folder there first.
        if not target.is_dir():
            raise unwritable(target, exc) from exc
    finally:
        if building != target.parent:
            shutil.rmtree(building, ignore_errors=True)
    return target


def _assemble(building: Path, backends: Path, stub: Path, *, official: bool) -> None:
    for backend in sorted(backends.iterdir()):
        if backend.is_dir() and backend.name not in {"python", "onnxruntime"}:
            (building / backend.name).symlink_to(backend)
    without_caches = shutil.ignore_patterns("__pycache__")
    python = building / "python"
    shutil.copytree(backends / "python", python, ignore=without_caches)
    shutil.copy2(stub, python / STUB)
    (python / STUB).chmod((python / STUB).stat().st_mode | stat.S_IXUSR | stat.S_IXGRP)
    if official:
        (building / "onnxruntime").symlink_to(backends / "onnxruntime")
    else:
        ours = OUR_BACKENDS / "onnxruntime"
        shutil.copytree(ours, building / "onnxruntime", ignore=without_caches)
    library = _python_library()
    if library is not None:
        (building / "lib").mkdir()
        (building / "lib" / library.name).symlink_to(library)


def _stub(root: Path) -> Path:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheel = root / "python_backend_stubs" / version / STUB
    container = root / "backends" / "python" / STUB
    for stub in (wheel, container):
        if stub.is_file():
            return stub
    raise ServerError(
        f"{root} has no python backend stub for Python {version}; looked at {wheel} and {container}"
    )


def _library_path(root: Path, folder: Path) -> tuple[Path, ...]:
    # <site-packages>/pytriton/tritonserver -> <site-packages>/nvidia_pytriton.libs
    candidates = (root.parent.parent / _WHEEL_LIBRARIES, folder / "lib")
    return tuple(path for path in candidates if path.is_dir())


def _python_library() -> Path | None:
    """The shared library of the running Python, which the stub must load, if there is one."""
    folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    if not folder or not name or ".so" not in name:
        return None
    library = Path(folder) / name
    return library if library.is_file() else None


def _key(program: Path, stub: Path) -> str:
    digest = hashlib.sha256()
    for path in (program, stub):
        state = path.stat()
        digest.update(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode())
    digest.update(f"{sys.version} {_python_library()}\n".encode())
    for source in sorted(OUR_BACKENDS.glob("*/*.py")):
        digest.update(source.name.encode() + source.read_bytes())
    return f"py{sys.version_info.major}.{sys.version_info.minor}-{digest.hexdigest()[:16]}"
