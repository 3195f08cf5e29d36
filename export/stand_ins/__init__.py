"""Checkpoints with random weights, for use without the hub: real architectures, and tiny ones.

Real ones are for parity and speed: the classes and sizes of the checkpoints that people use. Tiny
ones take each family through the gates within seconds. Both are folders of files as their users
have them, so they go through the same code. Each family has a file of its name here, with REAL and
TINY, by names that tell variants apart, and OPTIONS for the tiny ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch

from export.assembly import exclusive
from export.deployments import read_deployment
from export.fingerprint import code_sha256
from export.stand_ins.base import Build
from fovea.deployment_file import DeploymentFile

# The name of the deployment in commands.
STAND_IN = "stand-in"
Size = Literal["tiny", "real"]
# Written last: what the deployment names, and the code that made it.
DONE = ".complete"


def builds(family: str, size: Size) -> Mapping[str, Build]:
    """A family's stand-ins by name; empty if it has no file here."""
    found: Mapping[str, Build] = _attribute(family, size.upper())
    return found


def options(family: str) -> Mapping[str, Any]:
    """Options that a deployment must set for a family's tiny stand-ins."""
    found: Mapping[str, Any] = _attribute(family, "OPTIONS")
    return found


def _attribute(family: str, name: str) -> Any:
    module = f"{__name__}.{family}"
    return {} if find_spec(module) is None else getattr(import_module(module), name, {})


def write(
    family: str, size: Size, folder: Path, *, only: str | None = None, seed: int = 0
) -> dict[str, Path]:
    """Write a family's missing stand-ins below `folder`; name -> what a deployment names."""
    made = {name: build for name, build in builds(family, size).items() if only in (None, name)}
    code = code_sha256(f"{__name__}.{family}") if made else ""
    return {
        name: _written(build, folder / f"{size}-{name}", code, seed) for name, build in made.items()
    }


def _written(build: Build, target: Path, code: str, seed: int) -> Path:
    """Written once, though several processes ask for it at the same time."""
    done = target / DONE
    with exclusive(target.parent):
        if done.is_file():
            known, _, name = done.read_text().partition("\n")
            if known == code:
                return target / name
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        torch.manual_seed(seed)
        path = build().write(target)
        done.write_text(f"{code}\n{path.relative_to(target)}")
        return path


def stand_in(folder: Path) -> DeploymentFile:
    """The production deployment with stand-ins below `folder` as its checkpoints."""
    production = read_deployment("production")
    found = {
        name: str(path)
        for member in production.members
        for name, path in write(member, "real", folder).items()
    }
    return replace(production.with_checkpoints(found), name=STAND_IN)
