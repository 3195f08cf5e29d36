"""A real Prometheus for one check: scrapes a server, evaluates the rules, answers queries."""

import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from deploy import tools

MONITORING = Path(__file__).parent / "monitoring"
_EVERY = "1s"
_READY_S = 30.0
_STOP_S = 10.0


class Prometheus:
    """Runs as `with Prometheus("127.0.0.1:8002") as prometheus: prometheus.query("up")`.

    Uses the committed configuration and rules, with another target and an interval of one second.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._folder = tempfile.TemporaryDirectory()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._address = f"127.0.0.1:{probe.getsockname()[1]}"

    def __enter__(self) -> "Prometheus":
        folder = Path(self._folder.name)
        config = self._write_configuration(folder)
        self._process = subprocess.Popen(
            [
                str(tools.find("prometheus")),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self._address}",
                "--log.level=warn",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The current series of an expression, without NaN ones.

        Raises:
            ValueError: Prometheus does not understand it; the message has its reason.
        """
        query = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"http://{self._address}/api/v1/query?{query}") as answer:
                found = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as exc:
            raise ValueError(f"{expression}: {json.load(exc)['error']}") from exc
        return [series for series in found if series["value"][1] != "NaN"]

    def _write_configuration(self, folder: Path) -> Path:
        config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": _EVERY, "evaluation_interval": _EVERY}
        config["scrape_configs"][0]["static_configs"] = [{"targets": [self._target]}]
        rules = yaml.safe_load((MONITORING / "rules.yaml").read_text())
        for group in rules["groups"]:
            group["interval"] = _EVERY
        (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
        path = folder / "prometheus.yaml"
        path.write_text(yaml.safe_dump(config))
        return path

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://{self._address}/-/ready"):
                    return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.1)
        raise RuntimeError(f"Prometheus did not start, exit code {self._process.poll()}")

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()
