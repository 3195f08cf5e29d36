"""Make's messages on a machine where nothing can be installed, before it installs anything."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import check_python

ROOT = Path(check_python.__file__).parent


def make_install(venv, *, python=sys.executable, **environment):
    given = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", "--no-print-directory", "install", f"PYTHON={python}", f"VENV={venv}"],
        cwd=ROOT,
        env={**given, **environment},
        capture_output=True,
        text=True,
    )


def assert_one_line(run, venv, words):
    errors = [line for line in run.stderr.splitlines() if not line.startswith("make:")]
    assert run.returncode != 0
    assert len(errors) == 1 and words in errors[0], run.stderr
    assert not venv.exists()


def test_this_python_is_fit():
    assert check_python.problem() is None


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 9, 18), (3, 14, 0)])
def test_another_python_is_refused_with_supported_versions_and_how_to_name_one(
    monkeypatch, version
):
    monkeypatch.setattr(sys, "version_info", version)
    assert check_python.problem() == (
        f"Python {version[0]}.{version[1]} is not supported, 3.10 to 3.13 are: "
        "name one, as in make demo PYTHON=python3.12"
    )


def test_make_ends_with_that_line_before_it_installs(tmp_path):
    python = tmp_path / "python3.14"
    python.write_text(
        f"""#!/bin/sh
exec {sys.executable} -c 'import runpy, sys
sys.version_info, sys.argv = (3, 14, 0, "final", 0), sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""
    )
    python.chmod(0o755)
    run = make_install(tmp_path / "venv", python=python)
    assert_one_line(run, tmp_path / "venv", "Python 3.14 is not supported, 3.10 to 3.13 are")


def test_make_says_when_the_named_python_is_not_there(tmp_path):
    run = make_install(tmp_path / "venv", python="python3.99")
    assert_one_line(run, tmp_path / "venv", "there is no python3.99")


def test_make_names_the_package_that_brings_a_missing_venv(tmp_path):
    (tmp_path / "ensurepip.py").write_text("raise ModuleNotFoundError('No module named ensurepip')")
    run = make_install(tmp_path / "venv", PYTHONPATH=str(tmp_path))
    assert_one_line(run, tmp_path / "venv", f"apt install python3.{sys.version_info[1]}-venv")


@pytest.mark.parametrize(
    ("system", "processor", "library", "words"),
    [
        ("Darwin", "arm64", ("", ""), "runs on Linux on x86_64 or aarch64, and this is Darwin"),
        ("Linux", "riscv64", ("glibc", "2.41"), "this is Linux on riscv64"),
        ("Linux", "x86_64", ("glibc", "2.31"), "needs glibc 2.35 or newer"),
        ("Linux", "x86_64", ("", ""), "not another C library"),
    ],
)
def test_a_machine_without_a_triton_build_is_refused(
    monkeypatch, system, processor, library, words
):
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: processor)
    monkeypatch.setattr("platform.libc_ver", lambda: library)
    assert words in check_python.problem()


def test_the_check_is_written_for_python_2_too():
    tree = ast.parse((ROOT / "check_python.py").read_text(), feature_version=(3, 4))
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.Nonlocal, ast.Starred)
    assert not [node for node in ast.walk(tree) if isinstance(node, new)]


def test_the_package_and_the_readme_name_the_same_pythons():
    oldest, newest = check_python.OLDEST, check_python.NEWEST
    requires = f'requires-python = ">=3.{oldest[1]},<3.{newest[1] + 1}"'
    assert requires in (ROOT / "pyproject.toml").read_text()
    assert re.search(
        rf"Python 3.{oldest[1]}\s+to\s+3.{newest[1]}", (ROOT / "README.md").read_text()
    )
