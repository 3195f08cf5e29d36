"""Ends with one line when this Python cannot install the project; run by make before it installs.

The syntax is that of Python 2.7 and 3, so that any interpreter can say what is wrong with it.
"""

import platform
import subprocess
import sys

OLDEST, NEWEST = (3, 10), (3, 13)
# The platforms of tritonserver's wheel, nvidia-pytriton 0.7.0.
SYSTEM, PROCESSORS, GLIBC = "Linux", ("x86_64", "aarch64"), (2, 35)


def problem():
    """What keeps this interpreter from installing, or None."""
    found = sys.version_info[:2]
    if not OLDEST <= found <= NEWEST:
        return "Python %s is not supported, %s to %s are: name one, as in make demo PYTHON=%s" % (
            _dotted(found),
            _dotted(OLDEST),
            _dotted(NEWEST),
            "python3.12",
        )
    return _missing_venv(found) or _wrong_platform()


def _missing_venv(found):
    # In a separate process, because the module's own dependencies may be missing, too.
    wanted = [sys.executable, "-c", "import venv, ensurepip, ssl, zlib, ctypes, sqlite3"]
    run = subprocess.Popen(wanted, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    message = run.communicate()[1].decode("utf-8", "replace").strip().split("\n")[-1]
    if run.returncode == 0:
        return None
    return "%s cannot make a virtual environment (%s); on Debian and Ubuntu: apt install %s" % (
        sys.executable,
        message,
        "python%s-venv" % _dotted(found),
    )


def _wrong_platform():
    here = platform.system(), platform.machine()
    if here[0] != SYSTEM or here[1] not in PROCESSORS:
        return "the served Triton runs on %s on %s, and this is %s on %s" % (
            SYSTEM,
            " or ".join(PROCESSORS),
            here[0],
            here[1],
        )
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < GLIBC:
        return "the served Triton needs glibc %s or newer (Debian 12, Ubuntu 22.04), not %s" % (
            _dotted(GLIBC),
            (name + " " + version).strip() or "another C library",
        )
    return None


def _dotted(version):
    return ".".join(str(part) for part in version)


if __name__ == "__main__":
    found = problem()
    if found:
        sys.exit("error: " + found)
