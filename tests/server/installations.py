"""Copies of the installed tritonserver that a test may change or break."""

import os

from fovea_server.installation import find_tritonserver


def add_installation(site, program):
    """An installation below `site`, linked except for the program, which is a shell script.

    program: the script, in which {tritonserver} stands for the real program.
    """
    real = find_tritonserver()
    root = real.resolve().parent.parent
    copy = site / "pytriton" / "tritonserver"
    (copy / "bin").mkdir(parents=True)
    for name in os.listdir(root):
        if name != "bin":
            (copy / name).symlink_to(root / name)
    libraries = root.parent.parent / "nvidia_pytriton.libs"
    (site / libraries.name).symlink_to(libraries)
    script = copy / "bin" / "tritonserver"
    script.write_text(f"#!/bin/bash\n{program.format(tritonserver=real)}\n")
    script.chmod(0o755)
    return script
