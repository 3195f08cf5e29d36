"""The tests that the security page names exist."""

import re
from pathlib import Path

PAGE = Path("docs/security.md").read_text()
SOURCES = {path.name: path for path in Path("tests").rglob("test_*.py")}
NAMED = re.findall(r"`(?:tests/[\w/]*?)?(test_\w+\.py)(?:::(\w+))?`", PAGE)
SHORT = re.findall(r"`(?:::)?(test_\w+)`", PAGE)


def test_every_file_and_test_that_is_named_exists():
    everything = {
        name
        for path in SOURCES.values()
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    assert len(NAMED) > 15
    for file, test in NAMED:
        assert file in SOURCES
        assert not test or f"def {test}(" in SOURCES[file].read_text(), (file, test)
    for test in SHORT:
        assert test in everything, test


def test_every_point_of_tritons_guide_has_a_row():
    for flag in (
        "--exit-on-error",
        "--disable-auto-complete-config",
        "--strict-readiness",
        "--model-control-mode",
        "--allow-http",
        "--grpc-use-ssl",
        "--grpc-use-ssl-mutual",
        "Restricted protocols",
        "SageMaker, Vertex AI",
        "--allow-metrics",
        "--trace-config",
        "gRPC pools",
    ):
        assert flag in PAGE
