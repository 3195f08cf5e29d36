"""The import rules of the design: who may know whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = {"fovea", "fovea_client", "fovea_server", "export", "demo", "benchmarks", "tests"}
HEAVY = {"torch", "transformers", "onnx"}

# folder -> packages of ours that it may import, besides itself
ALLOWED = {
    "fovea": set(),
    "client/fovea_client": {"fovea", "fovea_server"},
    "server/fovea_server": {"fovea"},
    "model_repository": {"fovea"},
    "export": {"fovea"},
    "demo": {"fovea", "fovea_client", "fovea_server", "export"},
    "benchmarks": OURS - {"tests"},
}
WITHOUT_TORCH = ("fovea", "client/fovea_client", "server/fovea_server", "model_repository")


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
def test_what_is_deployed_needs_no_torch(folder):
    for path in (ROOT / folder).rglob("*.py"):
        heavy = imported_packages(path) & HEAVY
        assert not heavy, f"{path.relative_to(ROOT)} imports {heavy}"
