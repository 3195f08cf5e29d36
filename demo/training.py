"""The training loop of the demo checkpoints: seeded, resumable, logged."""

from __future__ import annotations

import copy
import inspect
import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor
from transformers.processing_utils import ProcessorMixin

CHECKPOINTS_FOLDER = Path(__file__).parent / "checkpoints"
WORK_FOLDER = Path(__file__).parent.parent / "build" / "train"
WARM_UP_STEPS = 100
FINAL_RATE = 0.02
GRADIENT_CLIP = 1.0
EMA_DECAY = 0.998
WEIGHT_DECAY = 0.01
LOG_EVERY = 50
SAVE_EVERY = 100

Losses = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    Attributes:
        name: used for the log and the state on disk.
        steps: length of the one cycle of the learning rate.
        batch: scenes in a step.
        rate: peak learning rate.
        slow_prefix: parameters whose name starts with it learn at `slow_factor` of the rate.
    """

    name: str
    steps: int
    batch: int
    rate: float
    slow_prefix: str = "-"
    slow_factor: float = 0.3

    @property
    def state_path(self) -> Path:
        """Where weights, averages and the optimizer's state are kept between runs."""
        return WORK_FOLDER / f"{self.name}.pt"

    @property
    def log_path(self) -> Path:
        """JSON lines, one every `LOG_EVERY` steps."""
        return WORK_FOLDER / f"{self.name}.jsonl"


def rate_at(step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine, relative to the peak."""
    warm = min(1.0, (step + 1) / WARM_UP_STEPS)
    return warm * (FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * step / steps)) / 2)


def optimizer_of(model: nn.Module, plan: Plan) -> torch.optim.Optimizer:
    """AdamW; vectors are not decayed, the slow part has its own rate."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        groups[(parameter.ndim > 1, name.startswith(plan.slow_prefix))].append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": WEIGHT_DECAY * decayed,
                "factor": plan.slow_factor if slow else 1.0,
            }
            for (decayed, slow), parameters in groups.items()
        ],
        lr=plan.rate,
        betas=(0.9, 0.98),
        fused=True,
    )


class Training:
    """A model in training, with a running average of its weights.

    Attributes:
        model: the weights that learn.
        average: their exponential average, which is what gets saved as a checkpoint.
    """

    def __init__(self, model: nn.Module, plan: Plan, *, resume: bool) -> None:
        self.plan = plan
        self.model = model
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimizer = optimizer_of(model, plan)
        self.step = 0
        WORK_FOLDER.mkdir(parents=True, exist_ok=True)
        if resume and plan.state_path.exists():
            self._load()

    def _load(self) -> None:
        state = torch.load(self.plan.state_path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def save(self) -> None:
        """Write everything that `--resume` needs."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        partial = self.plan.state_path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.plan.state_path)

    def _update(self, losses: Losses) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate * group["factor"] * rate_at(self.step, self.plan.steps)
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_CLIP)
        if torch.isfinite(norm):
            self.optimizer.step()
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            ours, theirs = list(self.average.parameters()), list(self.model.parameters())
            torch._foreach_lerp_(ours, theirs, 1 - decay)
            for mine, other in zip(self.average.buffers(), self.model.buffers(), strict=True):
                mine.copy_(other)

    def run(self, losses_of: Callable[[int], Losses]) -> None:
        """Train to the end of the plan.

        Args:
            losses_of: maps the step's number to named scalars; minimises 'loss'. A step's batch
            must depend only on its number, so that a resumed run sees the same ones.
        """
        sums: dict[str, float] = defaultdict(float)
        started = time.monotonic()
        with _progress() as progress:
            task = progress.add_task(self.plan.name, total=self.plan.steps, completed=self.step)
            while self.step < self.plan.steps:
                self.model.train()
                losses = losses_of(self.step)
                self._update(losses)
                self.step += 1
                for name, value in losses.items():
                    sums[name] += float(value.detach()) / LOG_EVERY
                if self.step % LOG_EVERY == 0:
                    self._log(sums, time.monotonic() - started)
                    sums.clear()
                if self.step % SAVE_EVERY == 0 or self.step == self.plan.steps:
                    self.save()
                progress.update(task, completed=self.step)

    def _log(self, means: dict[str, float], seconds: float) -> None:
        record = {"step": self.step, "seconds": round(seconds, 1)}
        record |= {name: round(value, 5) for name, value in means.items()}
        with self.plan.log_path.open("a") as log:
            log.write(json.dumps(record) + "\n")


def save_checkpoint(
    folder: Path, model: PreTrainedModel, processor: ProcessorMixin | BaseImageProcessor
) -> None:
    """Save a model and its processor, or that one's parts, in the files of a hub checkpoint."""
    model.save_pretrained(folder)
    names = [name for name in ("image_processor", "tokenizer") if hasattr(processor, name)]
    for part in [getattr(processor, name) for name in names] or [processor]:
        part.save_pretrained(folder)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn())


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Options of the training scripts.

    export_only: write the checkpoint without a step. only_refine: train the existing checkpoint in
    the second cycle only.
    """

    steps: int
    seed: int
    resume: bool
    export_only: bool
    only_refine: bool = False


Steps = Annotated[int, typer.Option(help="Length of the one cycle.")]
Seed = Annotated[int, typer.Option(help="Of the weights and the scenes.")]
Threads = Annotated[int, typer.Option(help="Of PyTorch.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the state on disk.")]
ExportOnly = Annotated[bool, typer.Option("--export-only", help="Only write the checkpoint.")]
OnlyRefine = Annotated[bool, typer.Option("--refine", help="Only the second cycle.")]


def command_line(
    train: Callable[[Arguments], None], steps: int, *, two_cycles: bool = False
) -> None:
    """The command line that the training scripts share.

    steps: the default. two_cycles: there is a second cycle, and `--refine`.
    """

    def command(
        steps: Steps = steps,
        seed: Seed = 0,
        threads: Threads = 1,
        resume: Resume = False,
        export_only: ExportOnly = False,
        only_refine: OnlyRefine = False,
    ) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        train(
            Arguments(
                steps=steps,
                seed=seed,
                resume=resume,
                export_only=export_only,
                only_refine=only_refine,
            )
        )

    parameters = inspect.signature(command, eval_str=True).parameters.values()
    shown = [one for one in parameters if two_cycles or one.name != "only_refine"]
    command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    command.__doc__ = train.__doc__
    typer.run(command)
