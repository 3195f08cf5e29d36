"""`python -m deploy.check`: checks the deployment as far as a machine without cluster can.

Renders and validates every overlay, runs promtool on rules and their tests, and has a real
Prometheus answer every query of the dashboard while the demo is served under load.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from deploy import tools
from deploy.live import Seen, watch
from deploy.manifests import OVERLAYS, render, validate
from deploy.prometheus import MONITORING
from deploy.rules import MODELS_TEST


def overlays() -> dict[str, int]:
    """Overlay -> number of valid resources; raises InvalidManifest for an invalid one."""
    return {name: len([validate(resource) for resource in render(name)]) for name in OVERLAYS}


def promtool(*arguments: str) -> str:
    """promtool's last line; raises CalledProcessError if it finds a fault."""
    command = [str(tools.find("promtool")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=MONITORING, check=False)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        done.check_returncode()
    return " ".join((done.stdout + done.stderr).split())


def report(seen: Seen) -> dict[str, Any]:
    """What was seen, as JSON."""
    return {
        "dashboard": seen.answers,
        "queries_without_data": [name for name, series in seen.answers.items() if not series],
        "alerts_firing": seen.firing,
        "traced_models": sorted(seen.traced),
        "requests": seen.requests,
        "seconds": round(seen.seconds, 1),
    }


def main(
    out: Annotated[Path, typer.Option("--json", help="Where the findings go.")] = Path(
        "build/deploy.json"
    ),
) -> None:
    """Exit with 1 if a dashboard query has no data or no trace came; other faults raise."""
    if missing := tools.missing():
        print(f"missing: {', '.join(missing)}; run make deploy-tools", file=sys.stderr)
        raise typer.Exit(1)
    began = time.monotonic()
    result: dict[str, Any] = {
        "overlays": overlays(),
        "rules": promtool("check", "rules", "rules.yaml"),
        "rule_tests": promtool("test", "rules", "rules.test.yaml", MODELS_TEST.name),
        "live": report(watch()),
    }
    result["total_s"] = round(time.monotonic() - began, 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")
    _print(result)
    live = result["live"]
    if live["queries_without_data"] or len(live["traced_models"]) < 2:
        raise typer.Exit(1)


def _print(result: dict[str, Any]) -> None:
    live = result["live"]
    for name, count in result["overlays"].items():
        print(f"overlay {name}: {count} resources, all valid")
    print(f"promtool check: {result['rules']}")
    print(f"promtool test: {result['rule_tests']}")
    without = live["queries_without_data"]
    print(
        f"dashboard: {len(live['dashboard']) - len(without)} of {len(live['dashboard'])} queries "
        f"answered after {live['requests']} requests in {live['seconds']} s"
        + (f"; without data: {', '.join(without)}" if without else "")
    )
    print(f"alerts firing: {', '.join(live['alerts_firing']) or 'none'}")
    print(f"one trace of main_object went through: {', '.join(live['traced_models'])}")


if __name__ == "__main__":
    typer.run(main)
