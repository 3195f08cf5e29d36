"""Hashes the code that decides an export, without comments, docstrings and layout."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("export", "fovea")


def code_sha256(*modules: str) -> str:
    """Hash of these modules and of all modules of ours and of their packages that they import."""
    found = closure(modules)
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode())
        digest.update(ast.dump(_without_docstrings(found[name])).encode())
    return digest.hexdigest()


def closure(modules: tuple[str, ...]) -> dict[str, ast.Module]:
    """Modules by name, as parsed; imports inside functions and for types only do not count."""
    packages = {*PACKAGES, *(name.split(".")[0] for name in modules)}
    waiting, found = list(modules), {}
    while waiting:
        name = waiting.pop()
        path = _path(name) if name.split(".")[0] in packages else None
        if name in found or path is None:
            continue
        found[name] = ast.parse(path.read_text())
        waiting += _imported(found[name].body)
    return found


def _path(module: str) -> Path | None:
    """A module's file; None for a name that is not a module, such as a class."""
    if module.split(".")[0] not in PACKAGES:
        return _found_path(module)
    base = ROOT / Path(*module.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _found_path(module: str) -> Path | None:
    """As `_path`, for a package that is installed somewhere."""
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:  # a class in a module that is not a package
        return None
    path = Path(spec.origin) if spec and spec.origin else None
    return path if path and path.suffix == ".py" else None


def _imported(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Try):
            yield from _imported(node.body)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test):
            yield from _imported([*node.body, *node.orelse])


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body[0] = ast.Pass()
    return tree


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
