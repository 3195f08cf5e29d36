"""The smoke test's verdicts, and its container side against a Docker that only takes notes."""

import json
import os
import threading

import pytest
import yaml

from deploy.smoke import __main__ as smoke
from deploy.smoke.compose import COMPOSE, ComposeHost
from deploy.smoke.host import by_model
from deploy.smoke.run import Step, StepFailed, StepSkipped, run_steps

GPU_METRICS = """\
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{model="grounding_dino",version="1"} 2
nv_inference_exec_count{gpu_uuid="GPU-1",model="grounding_dino",version="1"} 5
nv_inference_exec_count{model="clip_rank_labels_for_grounding_dino",version="1"} 3
nv_inference_count{model="clip_rank_labels_for_grounding_dino",version="1"} 9
nv_gpu_utilization{gpu_uuid="GPU-1"} 0.5
"""
INFO = {"DockerRootDir": "/", "ServerVersion": "29.1", "Runtimes": {"runc": {}, "nvidia": {}}}


def verdicts(*steps):
    return {outcome.name: outcome for outcome in run_steps(steps)}


def raising(error):
    def run():
        raise error

    return run


def test_steps_behind_a_failed_one_are_not_reached_and_the_rest_are_tried():
    seen = verdicts(
        Step("broken", raising(StepFailed("expected 1, got 2", {"got": 2})), 5),
        Step("after", dict, 5, ("broken",)),
        Step("beside", lambda: {"n": 1}, 5),
        Step("crash", raising(KeyError("x")), 5),
    )
    assert {name: outcome.verdict for name, outcome in seen.items()} == {
        "broken": "failed",
        "after": "not reached",
        "beside": "passed",
        "crash": "failed",
    }
    assert seen["broken"].reason == "expected 1, got 2" and seen["broken"].figures == {"got": 2}
    assert seen["crash"].reason == "KeyError: 'x'"
    assert not smoke.passed(list(seen.values()))


def test_a_step_that_does_not_apply_is_skipped_with_all_that_follow():
    seen = verdicts(
        Step("engines", raising(StepSkipped("no GPU")), 5),
        Step("serve engines", dict, 5, ("engines",)),
        Step("load of engines", dict, 5, ("serve engines",)),
    )
    assert {outcome.verdict for outcome in seen.values()} == {"skipped"}
    assert smoke.passed(list(seen.values()))


def test_a_step_that_hangs_fails_and_the_run_goes_on():
    never = threading.Event()
    try:
        seen = verdicts(Step("hangs", never.wait, 0.05), Step("next", dict, 5))
    finally:
        never.set()
    assert seen["hangs"].verdict == "failed" and "0.05 s" in seen["hangs"].reason
    assert seen["next"].verdict == "passed"


def test_the_record_names_its_schema_the_machine_and_every_step():
    outcomes = run_steps([Step("one", lambda: {"figure": 1}, 5)])
    began = smoke.datetime(2026, 1, 1, tzinfo=smoke.timezone.utc)
    record = json.loads(json.dumps(smoke.record("gpu", began, outcomes)))
    assert record["schema"] == smoke.SCHEMA == 1
    assert record["passed"] is True and record["device"] == "gpu"
    assert {"processor", "cores", "gpu", "versions"} <= record["machine"].keys()
    (step,) = record["steps"]
    assert {"name": "one", "verdict": "passed", "figures": {"figure": 1}}.items() <= step.items()


def test_on_a_gpu_a_models_series_are_summed_and_those_of_a_gpu_are_told_apart():
    assert by_model(GPU_METRICS, "nv_inference_exec_count") == {
        "grounding_dino": 7,
        "clip_rank_labels_for_grounding_dino": 3,
    }
    on_gpu = by_model(GPU_METRICS, "nv_inference_exec_count", label="gpu_uuid")
    assert on_gpu == {"grounding_dino": 5}


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A machine whose `docker` and `nvidia-smi` note their arguments and answer as told."""
    log, programs = tmp_path / "calls", tmp_path / "bin"
    programs.mkdir()
    answers = {
        "docker info": json.dumps(INFO),
        "exec": "41 clip_rank_labels_for_grounding_dino_0_0\n42 grounding_dino_select_boxes_0_0\n",
        "port": "127.0.0.1:32768\n",
        "nvidia-smi": "NVIDIA H100 80GB HBM3, 580.65.06, 81559 MiB\n",
    }

    def answer(words, text):
        answers[words] = text
        cases = "\n".join(f"*'{key}'*) printf '%s' '{value}';;" for key, value in answers.items())
        for name in ("docker", "nvidia-smi"):
            script = f'#!/bin/sh\necho "{name} $*" >> {log}\ncase "{name} $*" in\n{cases}\nesac\n'
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)

    answer("version", "29.1")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return answer, lambda: log.read_text().splitlines()


def host(tmp_path):
    return ComposeHost(tmp_path / "out")


def test_the_preflight_says_what_the_machine_has(docker, tmp_path, monkeypatch):
    monkeypatch.setattr("deploy.smoke.compose.LEAST_FREE_GIB", 0)
    figures = host(tmp_path).preflight()
    assert figures["gpu"] == "NVIDIA H100 80GB HBM3" and figures["driver"] == "580.65.06"


def test_the_preflight_names_everything_that_is_lacking(docker, tmp_path):
    answer, _ = docker
    answer("docker info", json.dumps(INFO | {"Runtimes": {"runc": {}}}))
    answer("nvidia-smi", "NVIDIA A10G, 535.183.01, 23028 MiB\n")
    with pytest.raises(StepFailed, match=r"container runtime.*a driver of 580 .* 535\.183\.01"):
        host(tmp_path).preflight()


def test_without_docker_the_preflight_fails_and_nothing_else_is_reached(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    outcomes = smoke.try_all(host(tmp_path), scenes=1, load_s=1)
    assert outcomes[0].verdict == "failed" and "docker version" in outcomes[0].reason
    assert {outcome.verdict for outcome in outcomes[1:]} == {"not reached"}


def test_every_service_that_is_started_is_in_the_compose_file(docker, tmp_path):
    _, calls = docker
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    running = host(tmp_path)
    with pytest.raises(StepFailed, match="images were not built"):
        running.export()
    running.build_images()
    running.serve(running.export())
    running.build_engines()
    running.clean_up()
    named = {word for call in calls() for word in call.split() if word in services}
    assert named == {"server-gpu", "exporter", "engines"}
    profiles = {p for name in named for p in services[name]["profiles"]}
    assert all(f"--profile {p}" in call for p in profiles for call in calls() if " up " in call)
    # User 1000 of the containers can write what this user made.
    assert (tmp_path / "out" / "demo").stat().st_mode & 0o777 == 0o777


def test_a_backend_process_is_found_and_killed_inside_the_container(docker, tmp_path):
    _, calls = docker
    running = host(tmp_path)
    assert running.stub_of("clip_rank_labels_for_grounding_dino") == 41
    assert running.stub_of("gone") is None
    running.kill(41)
    assert calls()[-1].endswith("exec -T server-gpu python3 -c import os; os.kill(41, 9)")


def test_a_failed_command_is_reported_with_its_own_output(tmp_path, monkeypatch):
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 'no space left on device' >&2\nexit 17\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(StepFailed, match=r"ended with 17: no space left on device"):
        host(tmp_path).build_images()
