"""`python -m benchmarks.recommend`: what light members gain over heavy ones, on this machine.

Exports the deployments of `benchmarks.choices` and serves them with the real Triton, one at a time,
in rounds of all. Each answers main_object and segment about pictures that it has not seen. Weights
are random, so thresholds are 0: the best box of every picture goes on to the promptable member, as
with a real picture, and a picture without a mask stops the run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from fovea_client import Client
from fovea_server import EmbeddedServer
from PIL import Image
from rich.console import Console

from benchmarks.choices import CHOICES
from benchmarks.exports import EXIT_TIMEOUT_S, TIMEOUT_S
from benchmarks.figures import Spread, percentiles
from benchmarks.loads import Call, answered, closed_loop
from benchmarks.machine import resident_mb
from benchmarks.options import Json
from benchmarks.questions import Question, to_jpeg
from benchmarks.results import write_json
from benchmarks.tables import markdown, on_terminal
from benchmarks.targets import Pool
from demo.evaluate import make_trial
from demo.served import EXPORTS, demo_server
from export.deployments import Export, run
from export.machine import machine
from export.timing import in_turn
from fovea.deployment import BatchSizes
from fovea.deployment_file import DeploymentFile
from fovea.house import wire
from fovea.machine_settings import MachineSettings
from fovea.manifest import exported_deployment

FIRST_SEED = 5_000_000
# The size of most photos in data sets.
PICTURE_WH = (640, 480)
CALLERS = 2
_OTHERS = [choice.name for choice in CHOICES[1:]]

_PAGE = """# Choosing members

What light members gain over heavy ones, as `make recommend` printed it. It serves the same verbs
with members at real size, one deployment at a time on the real Triton, and asks each about the same
pictures of {width} x {height} pixels. Weights are random: the figures say what an answer costs, and
nothing of what it is worth. For that, measure on pictures of your own, as `make swap` does with the
demo's.

{cores} cores ({processor}), fp32 on ONNX Runtime; medians of {rounds} rounds of all deployments,
with the least and the greatest. Latency is of one caller, pictures a second of {callers} callers.
`default` is [deployments/production.toml](../deployments/production.toml), and `default-800` the
same with GroundingDINO's option `longest_edge = 800`, which makes its canvas smaller.

{table}
"""


@dataclass(frozen=True)
class Amount:
    """How much of everything.

    rounds: of all deployments. seconds, requests: of one load and caller, at least. pictures:
    different ones, asked about in turn; more than a server keeps the embeddings of, or than a round
    asks about.
    """

    rounds: int = 3
    seconds: float = 10.0
    requests: int = 4
    pictures: int = 160


QUICK = Amount(rounds=1, seconds=0.0, requests=1, pictures=12)


@dataclass
class Measured:
    """A deployment, a figure a round.

    latency_ms: the median of main_object for one caller. main_object_per_s, segment_per_s: answers
    of CALLERS callers. megabytes: of its graphs. memory_mb: of the server with all its processes,
    after its loads.
    """

    deployment: str
    members: list[str]
    megabytes: float
    latency_ms: list[float] = field(default_factory=list)
    main_object_per_s: list[float] = field(default_factory=list)
    segment_per_s: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)


def pictures(count: int) -> list[Question]:
    """Scenes at the size of a photo, all different."""
    return [_picture(FIRST_SEED + index) for index in range(count)]


def _picture(seed: int) -> Question:
    trial = make_trial(seed)
    across, down = (new / old for new, old in zip(PICTURE_WH, trial.image.size, strict=True))
    left, top, right, bottom = trial.named.box_xyxy
    image = trial.image.resize(PICTURE_WH, Image.Resampling.BICUBIC)
    box = (left * across, top * down, right * across, bottom * down)
    return Question(to_jpeg(image), trial.candidates, box)


def exported(file: DeploymentFile, report: Callable[[str, str], None]) -> Export:
    """In float32 for ONNX Runtime; one picture a batch, which fills the cores at these sizes."""
    made = Export(file, EXPORTS / file.name, report, max_batch=1)
    run(made)
    deployment = exported_deployment(made.out)
    singly = BatchSizes(networks=tuple((spec.name, 1) for spec in wire(deployment).networks))
    settled = Export(file, made.out, report, max_batch=1, settings=MachineSettings(singly))
    run(settled)
    return settled


@contextmanager
def served(export: Export) -> Iterator[tuple[EmbeddedServer, Client]]:
    """The export alone on a real Triton, and a client of it."""
    with (
        tempfile.TemporaryDirectory() as log,
        demo_server(
            export.repository, exit_timeout_s=EXIT_TIMEOUT_S, log_path=Path(log) / "log"
        ) as server,
        Client(server.grpc_url, timeout_s=TIMEOUT_S) as client,
    ):
        yield server, client


def measure(row: Measured, export: Export, amount: Amount, asked: Pool) -> None:
    """One round of a deployment, on a server of its own; raises RuntimeError without a mask."""
    with served(export) as (server, client):
        main_object, segment = _calls(client, asked)
        main_object(0)
        segment(0)
        alone = answered(closed_loop(main_object, 1, **_load(amount, 1)))
        row.latency_ms.append(percentiles(alone.latencies_s)["p50_ms"])
        for call, rates in ((main_object, row.main_object_per_s), (segment, row.segment_per_s)):
            together = answered(closed_loop(call, CALLERS, **_load(amount, CALLERS)))
            rates.append(together.throughput)
        row.memory_mb.append(resident_mb(server.pid))


def _load(amount: Amount, callers: int) -> dict[str, Any]:
    return {"seconds": amount.seconds, "at_least": amount.requests * callers}


def _calls(client: Client, asked: Pool) -> tuple[Call, Call]:
    """main_object and segment, each about the next picture."""

    def main_object(_: int) -> None:
        question = asked.questions[asked.next_index()]
        found = client.main_object(
            question.jpeg, question.labels, box_threshold=0, text_threshold=0
        )
        if found.mask is None:
            raise RuntimeError("expected a mask of the best box, got none")

    def segment(_: int) -> None:
        question = asked.questions[asked.next_index()]
        client.segment(question.jpeg, boxes=question.box_xyxy)

    return main_object, segment


def run_all(
    exports: Sequence[Export], rows: Sequence[Measured], amount: Amount, say: Callable[[str], None]
) -> None:
    """Rounds of all deployments; each asks about the same pictures."""
    asked = pictures(amount.pictures)
    for index in range(amount.rounds):
        for export, row in in_turn([*zip(exports, rows, strict=True)], index):
            say(f"round {index + 1} of {amount.rounds}: {row.deployment}")
            measure(row, export, amount, Pool(asked))


def figures(rows: Sequence[Measured]) -> list[dict[str, object]]:
    """A row for each deployment; the ratios are to the first one, round by round."""
    first = rows[0]

    def times(own: list[float], firsts: list[float]) -> Spread:
        return Spread.of(mine / base for mine, base in zip(own, firsts, strict=True))

    return [
        {
            "deployment": row.deployment,
            "members": row.members,
            "main_object, latency s": Spread.of(ms / 1000 for ms in row.latency_ms),
            "main_object, pictures/s": Spread.of(row.main_object_per_s),
            "main_object, × first": times(row.main_object_per_s, first.main_object_per_s),
            "segment, pictures/s": Spread.of(row.segment_per_s),
            "segment, × first": times(row.segment_per_s, first.segment_per_s),
            "graphs, MB": round(row.megabytes),
            "memory, MB": round(max(row.memory_mb)),
        }
        for row in rows
    ]


def conclusion(rows: Sequence[Measured]) -> str:
    """The ratio of the fastest deployment's main_object rate to that of the first."""

    def ratio(row: Measured) -> float:
        pairs = zip(row.main_object_per_s, rows[0].main_object_per_s, strict=True)
        return Spread.of(mine / base for mine, base in pairs).median

    fastest = max(rows, key=ratio)
    return (
        f"{fastest.deployment}: {ratio(fastest):.2f} times as many pictures as {rows[0].deployment}"
    )


def page(rows: Sequence[Measured], amount: Amount) -> str:
    """docs/choosing.md."""
    on = machine()
    return _PAGE.format(
        table=markdown(figures(rows)), rounds=amount.rounds, callers=CALLERS,
        width=PICTURE_WH[0], height=PICTURE_WH[1], **on,
    )  # fmt: skip


def main(
    only: Annotated[
        list[str] | None, typer.Option(help=f"These beside the first: {', '.join(_OTHERS)}.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="One round of as little as can be.")] = False,
    out: Json = Path("build/recommend.json"),
    docs: Annotated[Path | None, typer.Option(help="Where the page goes.")] = None,
) -> None:
    """Export, measure, print and write; ends with the fastest one's ratio to the first."""
    unknown = set(only or ()) - set(_OTHERS)
    if unknown:
        raise typer.BadParameter(f"expected names of {', '.join(_OTHERS)}, got {sorted(unknown)}")
    amount, console = QUICK if quick else Amount(), Console()
    chosen = [CHOICES[0], *(one for one in CHOICES[1:] if one.name in (only or _OTHERS))]
    with console.status("exporting") as status:
        exports = [
            exported(one.deployment(), lambda name, what: status.update(f"{name}: {what}"))
            for one in chosen
        ]
        rows = [
            Measured(one.name, [part.known_as for part in one.parts], _megabytes(export))
            for one, export in zip(chosen, exports, strict=True)
        ]
        run_all(exports, rows, amount, status.update)
    write_json(out, {"machine": machine(), "amount": asdict(amount), "rows": [*map(asdict, rows)]})
    if docs:
        docs.write_text(page(rows, amount))
    console.print(on_terminal(figures(rows), "Light and heavy members at real size"))
    console.print(conclusion(rows))


def _megabytes(export: Export) -> float:
    return sum(path.stat().st_size for path in export.repository.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    typer.run(main)
