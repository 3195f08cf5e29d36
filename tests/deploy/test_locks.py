"""The locks of the images: every wheel has a hash, and they match the project's requirements."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy import locks

LINE = re.compile(
    r'([a-z0-9-]+)==(\S+)(?: ; platform_machine == "\w+")?((?: --hash=sha256:[0-9a-f]{64}){1,2})'
)


def pins(name):
    """Package -> version."""
    _, *lines = (locks.FOLDER / f"{name}.txt").read_text().splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), "a line without version or hash"
    return {match[1]: match[2] for match in found}


def asked(requirements, python):
    """The requirements that apply on Linux with a given Python."""
    machine = {"python_version": python, "sys_platform": "linux", "extra": ""}
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate(machine):
            yield canonicalize_name(requirement.name), requirement.specifier


@pytest.mark.parametrize("name", locks.LOCKS)
def test_a_lock_has_the_images_requirements(name):
    """If this fails after a change of pyproject.toml: python -m deploy.locks."""
    lock, pinned = locks.LOCKS[name], pins(name)
    for package, versions in asked(lock.requirements(), lock.python):
        assert pinned[package] in versions


@pytest.mark.parametrize("name", locks.LOCKS)
def test_a_lock_has_the_versions_that_the_tests_ran_with(name):
    """If this fails after a change of constraints.txt: python -m deploy.locks."""
    pinned = pins(name)
    tested = Path("constraints.txt").read_text().splitlines()
    for package, versions in asked(tested[1:], locks.LOCKS[name].python):
        assert pinned.get(package) is None or pinned[package] in versions, package


def test_locks_and_images_match_one_to_one():
    images = {path.name.split(".")[0] for path in locks.FOLDER.parent.glob("*.Dockerfile")}
    assert {path.stem for path in locks.FOLDER.iterdir()} == {*images, "build"} == {*locks.LOCKS}
