"""The import rules of the design: which folders may import which."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {
    "fovea", "fovea_client", "fovea_server", "fovea_search", "fovea_web",
    "export", "demo", "benchmarks", "tests",
}  # fmt: skip
HEAVY = {"torch", "transformers", "onnx"}

# folder -> packages of ours that it may import, besides itself
ALLOWED = {
    "fovea": set(),
    # Its command names those of other packages, and loads them on demand.
    "client/fovea_client": {"fovea"},
    "search/fovea_search": {"fovea", "fovea_client"},
    "web/fovea_web": {"fovea", "fovea_client", "fovea_search"},
    "server/fovea_server": {"fovea"},
    "model_repository": {"fovea"},
    "export": {"fovea"},
    "demo": OURS - {"benchmarks", "tests"},
    "benchmarks": OURS - {"tests"},
}
WITHOUT_TORCH = (
    "fovea", "client/fovea_client", "server/fovea_server", "search/fovea_search", "web/fovea_web",
    "model_repository",
)  # fmt: skip


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("folder", ALLOWED)
def test_each_folder_imports_only_what_the_design_allows(folder):
    itself = folder.split("/")[-1]
    files = [*(ROOT / folder).rglob("*.py")]
    assert files
    for path in files:
        ours = imported_packages(path) & OURS - {itself}
        assert ours <= ALLOWED[folder], f"{path.relative_to(ROOT)} imports {ours}"


@pytest.mark.parametrize("folder", WITHOUT_TORCH)
def test_deployed_packages_need_no_torch(folder):
    for path in (ROOT / folder).rglob("*.py"):
        heavy = imported_packages(path) & HEAVY
        assert not heavy, f"{path.relative_to(ROOT)} imports {heavy}"


def modules() -> dict[str, Path]:
    """All modules of the project by name, without tests."""
    places = [ROOT / name for name in OURS - {"tests"}] + [ROOT / "deploy"]
    places += [ROOT / name for name in ALLOWED if "/" in name]
    found = {}
    for place in places:
        for path in place.rglob("*.py"):
            name = ".".join(path.relative_to(place.parent).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(node: ast.AST) -> Iterator[str]:
    """Names imported anywhere except for types only: modules, and names that may be modules."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield child.module or ""
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from imports(child)


def test_no_module_imports_itself_indirectly():
    known = modules()
    graph = {
        module: {
            name
            for name in imports(ast.parse(path.read_text()))
            if name in known and name != module and not module.startswith(f"{name}.")
        }
        for module, path in known.items()
    }
    assert len(graph) > 300
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def names_in(path: Path) -> set[str]:
    """The names that can be imported from a module: defined, imported, assigned, and submodules."""
    found = {other.stem for other in path.parent.glob("*")} if path.stem == "__init__" else set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_every_imported_name_of_the_project_exists():
    known = modules()
    there = {module: names_in(path) for module, path in known.items()}
    for path in [*known.values(), *(ROOT / "tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in there:
                missing = {alias.name for alias in node.names} - there[node.module]
                assert not missing, f"{path.relative_to(ROOT)}: {node.module} has no {missing}"
