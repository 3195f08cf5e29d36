"""The commands `fovea web` and `fovea web-keys`."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from fovea_client import InvalidInput
from fovea_client.cli import app
from fovea_web import keys
from fovea_web.cli import check_open
from typer.testing import CliRunner


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


def test_keys_are_made_listed_and_revoked(tmp_path):
    path = str(tmp_path / "keys.txt")
    made = run("web-keys", "add", "alice", "--keys", path, "--expires", "2030-01-31")
    assert made.exit_code == 0
    assert keys.digest(made.output.strip()) == keys.read(tmp_path / "keys.txt")[0].digest
    listed = run("web-keys", "list", "--keys", path, "--json")
    assert json.loads(listed.output)["expires"].startswith("2030-01-31")
    assert run("web-keys", "remove", "alice", "--keys", path).exit_code == 0
    assert run("web-keys", "remove", "alice", "--keys", path).exit_code == 2


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org"])
def test_other_machines_get_in_only_if_allowed(host, tmp_path):
    with pytest.raises(InvalidInput, match="--no-keys"):
        check_open(host, None, no_keys=False)
    check_open(host, None, no_keys=True)
    check_open(host, tmp_path, no_keys=False)
    with pytest.raises(InvalidInput):
        check_open(host, tmp_path, no_keys=True)


def test_loopback_needs_no_keys():
    for host in ("127.0.0.1", "::1", "localhost"):
        check_open(host, None, no_keys=False)


def test_an_open_host_without_keys_does_not_start():
    refused = run("web", "--host", "0.0.0.0")
    assert refused.exit_code == 2 and "--no-keys" in refused.output


@pytest.mark.parametrize(
    "options", [["--store", "nowhere"], ["--rate", "often"], ["--samples", "nowhere"]]
)
def test_missing_files_and_folders_stop_the_start(options):
    assert run("web", *options).exit_code == 2


def test_it_prints_its_address_and_ends_on_ctrl_c(triton):
    command = [Path(sys.executable).with_name("fovea"), "web", "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--url", triton.url], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        url = json.loads(running.stdout.readline())["url"]
        assert httpx2.get(f"{url}/health/ready").json() == {"ready": True}
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
