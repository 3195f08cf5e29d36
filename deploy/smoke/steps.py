"""The steps to try, in order; each is the same on every host."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tritonclient.grpc as triton
from fovea_client import Client
from tritonclient.utils import InferenceServerException

from benchmarks.breakdown import NETWORKS
from benchmarks.loads import closed_loop
from demo.evaluate import Trial, make_trial
from demo.reference import ReferencePipeline
from demo.served import ServedPredictor
from demo.truth import Agreement, agreement
from deploy.smoke.host import Host, by_model
from deploy.smoke.run import Figures, Step, StepFailed

# A step with its own backend process on every backend.
VICTIM = "clip_rank_labels_for_grounding_dino"
EXECUTIONS = "nv_inference_exec_count"
# Least shares of scenes with the same answer as PyTorch; half precision moves a few.
SAME_LABEL, BOXES_WITHIN, MASK_IOU = 0.95, 0.9, 0.95
CACHE_TRIES = 5
POLL_S = 0.25
CALLERS = 8


@dataclass
class Smoke:
    """One run on one host.

    scenes: how many are compared with PyTorch. load_s: seconds of load.
    """

    host: Host
    scenes: int = 40
    load_s: float = 30.0
    _repository: Path | None = None
    _address: str = ""
    _trials: list[Trial] = field(default_factory=list)
    _engines: Path | None = None

    def steps(self) -> tuple[Step, ...]:
        """All steps; those on one server stand between its start and its stop."""
        return (
            Step("preflight", self.host.preflight, 60),
            Step("images", self.host.build_images, 1800, ("preflight",)),
            Step("export", self._export, 900, ("preflight",)),
            Step("serve", self._serve, 400, ("export",)),
            Step("truth", self._truth, 300, ("serve",)),
            Step("cache", self._cache, 60, ("serve",)),
            Step("kill", self._kill, 180, ("serve",)),
            Step("load", self._load, self.load_s + 90, ("serve",)),
            Step("stop", self.host.stop, 150, ("serve",)),
            Step("engines", self._build_engines, 1500, ("export",)),
            Step("serve engines", self._serve_engines, 400, ("engines",)),
            Step("truth of engines", self._truth, 300, ("serve engines",)),
            Step("load of engines", self._load, self.load_s + 90, ("serve engines",)),
            Step("stop engines", self.host.stop, 150, ("serve engines",)),
        )

    def _export(self) -> Figures:
        self._repository = self.host.export()
        return {"models": len([*self._repository.glob("*/config.pbtxt")])}

    def _build_engines(self) -> Figures:
        self._engines, figures = self.host.build_engines()
        return figures

    def _serve(self) -> Figures:
        return self._start(self._repository)

    def _serve_engines(self) -> Figures:
        return self._start(self._engines)

    def _start(self, repository: Path | None) -> Figures:
        """Start a server; every network must run where the host says."""
        assert repository is not None
        start = time.monotonic()
        self._address = self.host.serve(repository)
        figures: Figures = {"ready_after_s": round(time.monotonic() - start, 1)}
        with Client(self._address) as client:
            self._ask(client, make_trial(0))
        counted = by_model(self.host.metrics(), EXECUTIONS, label="gpu_uuid")
        figures["networks_on_gpu"] = sorted(set(NETWORKS) & set(counted))
        expected = sorted(NETWORKS) if self.host.device == "gpu" else []
        if figures["networks_on_gpu"] != expected:
            raise StepFailed(
                f"expected {expected or 'no network'} on a GPU, got {figures['networks_on_gpu']}",
                figures,
            )
        return figures

    def _truth(self) -> Figures:
        """Compare the served answers with PyTorch's about the same scenes."""
        torch.set_num_threads(1)
        self._trials = self._trials or [make_trial(i) for i in range(self.scenes)]
        with Client(self._address) as client:
            found = agreement(ReferencePipeline(), ServedPredictor(client), self._trials)
        figures = {"scenes": self.scenes} | asdict(found)
        if wrong := _disagreements(found):
            raise StepFailed(f"answers differ from PyTorch's: {', '.join(wrong)}", figures)
        return figures

    def _cache(self) -> Figures:
        """Check that a second prompt on a picture runs no image encoder.

        On several pictures, because a probe may run the encoder between the two.
        """
        runs = []
        with Client(self._address) as client:
            for seed in range(CACHE_TRIES):
                picture = make_trial(7_000_000 + seed).image
                client.segment(picture, points=[(20, 20)])
                before = self._executions("sam_image_encoder")
                client.segment(picture, points=[(60, 60)])
                runs.append(self._executions("sam_image_encoder") - before)
        figures = {"encoder_runs_for_the_second_prompt": runs}
        if sum(run == 0 for run in runs) <= CACHE_TRIES // 2:
            raise StepFailed(f"expected no run of the image encoder, got {runs}", figures)
        return figures

    def _kill(self) -> Figures:
        """`kill -9` a backend process while readiness is polled, as an orchestrator polls."""
        victim = self.host.stub_of(VICTIM)
        if victim is None:
            raise StepFailed(f"expected a backend process of {VICTIM}, found none")
        trial = make_trial(0)
        with _Polling(self._address) as polling, Client(self._address, timeout_s=120) as client:
            self._ask(client, trial)
            start = time.monotonic()
            self.host.kill(victim)
            self._ask(client, trial)
            answered = time.monotonic() - start
            while self.host.stub_of(VICTIM) in (None, victim) or not polling.ready:
                time.sleep(POLL_S)
            whole = time.monotonic() - start
            self._ask(client, trial)
        return {
            "killed_pid": victim,
            "new_pid": self.host.stub_of(VICTIM),
            "answered_after_s": round(answered, 2),
            "replaced_and_ready_after_s": round(whole, 2),
            "readiness_polls": dict(polling.seen),
        }

    def _load(self) -> Figures:
        """Callers request main objects without a pause; nothing may fail."""
        trials = itertools.cycle([make_trial(i) for i in range(32)])
        lock = threading.Lock()
        with Client(self._address, timeout_s=60) as client:

            def call(number: int) -> None:
                with lock:
                    trial = next(trials)
                self._ask(client, trial)

            samples = closed_loop(call, CALLERS, seconds=self.load_s)
        figures: Figures = {
            "callers": CALLERS,
            "answered": len(samples.ends_s),
            "failed": dict(samples.failures),
            "answers_per_s": round(samples.throughput, 1),
        }
        if len(samples.ends_s):
            ms = 1000 * np.percentile(samples.latencies_s, (50, 99))
            figures |= {"p50_ms": round(float(ms[0]), 1), "p99_ms": round(float(ms[1]), 1)}
        if samples.failures or not len(samples.ends_s):
            raise StepFailed(f"expected answers alone, got {figures['failed']}", figures)
        return figures

    def _executions(self, model: str) -> int:
        return int(by_model(self.host.metrics(), EXECUTIONS).get(model, 0))

    @staticmethod
    def _ask(client: Client, trial: Trial) -> Any:
        return client.main_object(trial.image, trial.candidates)


def _disagreements(found: Agreement) -> list[str]:
    """The figures below their floors, with both."""
    least = {"same_label": SAME_LABEL, "boxes_within": BOXES_WITHIN, "mask_iou": MASK_IOU}
    figures = asdict(found)
    return [
        f"{name} is {figures[name]:.3f}, expected {floor:g} or more"
        for name, floor in least.items()
        if not figures[name] >= floor
    ]


class _Polling:
    """Polls over gRPC whether the server is ready, in its own thread.

    seen: how often each answer came. ready: the last answer.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="smoke-polling", daemon=True)
        self.seen: Counter[str] = Counter()
        self.ready = False

    def __enter__(self) -> _Polling:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _poll(self) -> None:
        with triton.InferenceServerClient(self._address) as client:
            while not self._stop.wait(POLL_S):
                try:
                    self.ready = bool(client.is_server_ready())
                    self.seen["ready" if self.ready else "not ready"] += 1
                except InferenceServerException:
                    self.ready = False
                    self.seen["no answer"] += 1
