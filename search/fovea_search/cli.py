"""The commands `fovea index` and `fovea search`; `fovea_client.cli` loads them on demand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from fovea_client import Client, InvalidInput, LocalClient, console
from fovea_client import options as common
from fovea_client.blocking import BlockingVerbs
from fovea_client.connection import DEFAULT_TIMEOUT_S, DEFAULT_URL
from fovea_client.runs import open_client

from fovea_search import report, sheet, sources
from fovea_search.job import BATCH_PICTURES, Job, Options, Summary
from fovea_search.metadata import Metadata
from fovea_search.records import OBJECT, PICTURE
from fovea_search.search import ALPHA, BETA, SAME, SCENE_WEIGHT, TEMPLATES, Index, K, Query
from fovea_search.servers import VERB, Servers, open_store
from fovea_search.sources import Source
from fovea_search.store import Store

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


StoreOption = Annotated[
    str,
    typer.Option("--store", metavar="STORE", help="A folder, or a URI such as s3://bucket/index."),
]
Urls = Annotated[
    list[str], typer.Option("--url", envvar="FOVEA_URL", help="host:port of gRPC; repeatable.")
]


@app.command()
def index(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PICTURES]...",
            help="Files, folders, globs, lists (.txt), tar shards, Parquet; local or s3://.",
        ),
    ] = None,
    store: StoreOption = "index",
    metadata: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="CSV or Parquet with a column 'path': more columns."),
    ] = None,
    column: Annotated[
        str | None, typer.Option(help="Column of Parquet files: the pictures or their paths.")
    ] = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="List the pictures that failed.")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Do the failed ones again.")] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Remove pictures whose files are gone.")
    ] = False,
    optimize: Annotated[
        bool, typer.Option("--optimize", help="Only update the store's indexes.")
    ] = False,
    versions: Annotated[bool, typer.Option("--versions", help="List its versions.")] = False,
    restore: Annotated[
        int | None, typer.Option(metavar="VERSION", help="Go back to a version of the store.")
    ] = None,
    thumbnails: Annotated[
        int, typer.Option(min=0, metavar="PX", help="Keep a JPEG of this edge for each picture.")
    ] = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="Pictures at once.")] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in one commit.")] = BATCH_PICTURES,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="auto|ADDRESS",
            help="Use Ray's machines, with --concurrency pictures per actor.",
        ),
    ] = None,
    actors: Annotated[int, typer.Option(min=1, help="Of --ray.")] = 2,
    points_per_side: common.PointsPerSide = None,
    iou_threshold: common.IouThreshold = None,
    stability_threshold: common.StabilityThreshold = None,
    min_area: common.MinArea = None,
    min_piece: common.MinPiece = None,
    max_objects: common.MaxObjects = None,
    full_size: common.FullSize = None,
    as_json: common.Json = False,
    verb: common.Verb = None,
    url: Urls = [DEFAULT_URL],  # noqa: B006
    timeout: common.Timeout = DEFAULT_TIMEOUT_S,
    local: common.Local = None,
) -> None:
    """Put every object of pictures into a store, or maintain the store."""
    with console.one_line_errors():
        if failed or versions or optimize or restore is not None:
            _look_after(
                Store.open(store),
                failed=failed,
                versions=versions,
                restore=restore,
                as_json=as_json,
            )
            return
        if not inputs and not (retry or sweep):
            raise InvalidInput("expected pictures, a folder or the like, got none")
        given = {
            "points_per_side": points_per_side,
            "iou_threshold": iou_threshold,
            "stability_threshold": stability_threshold,
            "min_area": min_area,
            "min_piece": min_piece,
            "max_objects": max_objects,
            "full_size": full_size,
        }
        settings = {name: value for name, value in given.items() if value is not None}
        options = Options(concurrency, batch, retry, sweep, thumbnails)
        on_ray = None
        if ray is not None:
            on_ray = _OnRay(ray, actors, tuple(url), timeout, local)
        with _clients(url, timeout, local) as clients:
            run = _IndexRun(
                store, clients, verb or VERB, settings, options, on_ray, as_json=as_json
            )
            raise typer.Exit(run.run(inputs, column, metadata))


class _OnRay:
    """Makes jobs for --ray; joins the cluster before anything else has threads."""

    def __init__(
        self, address: str, actors: int, urls: tuple[str, ...], timeout_s: float, local: Path | None
    ) -> None:
        if local is not None:
            raise InvalidInput("expected servers that all machines reach with --ray, got --local")
        try:
            from fovea_search import ray_job
        except ModuleNotFoundError as error:
            raise InvalidInput("--ray needs ray: pip install 'fovea[search,ray]'") from error
        self._module, self._cluster = ray_job, ray_job.Cluster(address, actors)
        self._urls, self._timeout_s = urls, timeout_s
        self._leave = ray_job.connect(address)

    def job(self, store: Store, options: Options, metadata: Metadata | None, **more: Any) -> Job:
        """A job with the store's own verb and settings."""
        made_by = store.made_by
        asking = self._module.Asking(self._urls, self._timeout_s, made_by.verb, made_by.settings)
        more |= {"leave": self._leave}
        return self._module.RayJob(store, asking, self._cluster, options, metadata, **more)


class _IndexRun:
    """One `fovea index` over pictures."""

    def __init__(
        self,
        where: str,
        clients: list[BlockingVerbs],
        verb: str,
        settings: Mapping[str, float],
        options: Options,
        on_ray: _OnRay | None,
        *,
        as_json: bool,
    ) -> None:
        self._on_ray = on_ray
        self._options, self._as_json, self._problems = options, as_json, 0
        self._where, self._clients = where, clients
        self._store = open_store(where, clients, verb, settings)
        made_by = self._store.made_by
        self._servers = Servers(clients, made_by.verb, made_by.settings)

    def run(self, inputs: list[str] | None, column: str | None, metadata: str | None) -> int:
        """Run the job; returns the exit code."""
        columns = Metadata(metadata) if metadata else None
        if columns:
            self._store.add_columns(columns.fields)
        with console.progress_bar(shown=not self._as_json) as progress:
            found = self._found(inputs, column)
            job = self._job(columns, column)
            summary = job.run(found, total=_count(found), progress=progress)
        self._store.optimize()
        self._print(summary)
        return console.INVALID if self._problems else 0

    def _job(self, metadata: Metadata | None, column: str | None) -> Job:
        if self._on_ray is None:
            return Job(self._store, self._servers, self._options, metadata)
        more = {"on_problem": self._report, "column": column}
        return self._on_ray.job(self._store, self._options, metadata, **more)

    def _found(
        self, inputs: list[str] | None, column: str | None
    ) -> list[Source] | Iterator[Source]:
        """All sources at once, so that their number is known; those in shards as they are read."""
        if inputs is None:
            failed = [one.path for one in self._store.known() if one.error]
            inputs = failed if self._options.retry else []
        closed = self._on_ray is not None
        found = sources.find(inputs, self._report, column=column, closed=closed)
        streamed = any(name.lower().endswith(sources.STREAMED) for name in inputs)
        return found if streamed else list(found)

    def _report(self, path: str, reason: str) -> None:
        self._problems += 1
        console.print_error(reason, path)

    def _print(self, summary: Summary) -> None:
        if self._as_json:
            console.print_json({"store": self._where, **report.to_record(summary)})
        else:
            report.print_summary(self._where, summary)


@contextmanager
def _clients(
    urls: list[str], timeout_s: float, local: Path | None
) -> Iterator[list[BlockingVerbs]]:
    if local is not None:
        with LocalClient(local) as client:
            yield [client]
        return
    first = open_client(urls[0], timeout_s, None)
    others: list[BlockingVerbs] = [Client(url, timeout_s=timeout_s) for url in urls[1:]]
    try:
        yield [first, *others]
    finally:
        for one in (first, *others):
            one.close()


def _look_after(
    store: Store, *, failed: bool, versions: bool, restore: int | None, as_json: bool
) -> None:
    if failed:
        report.print_failed(store, as_json=as_json)
    elif versions:
        report.print_versions(store, as_json=as_json)
    elif restore is not None:
        store.restore(restore)
    else:
        store.optimize()


def _count(found: list[Source] | Iterator[Source]) -> int | None:
    return len(found) if isinstance(found, list) else None


@app.command()
def search(
    text: Annotated[str | None, typer.Argument(help="What to look for: 'a red car'.")] = None,
    store: StoreOption = "index",
    image: Annotated[Path | None, typer.Option(help="A picture of it; with text, both.")] = None,
    box: Annotated[
        Any,
        typer.Option(parser=common.parse_box, metavar="X1,Y1,X2,Y2", help="The thing in --image."),
    ] = None,
    point: Annotated[
        Any, typer.Option(parser=common.parse_point, metavar="X,Y", help="A point on the thing.")
    ] = None,
    like: Annotated[str | None, typer.Option(metavar="ID", help="Like a result, by id.")] = None,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="Weight of --image beside text.")
    ] = ALPHA,
    negative: Annotated[
        str | None, typer.Option("--not", metavar="TEXT", help="What it should not be.")
    ] = None,
    beta: Annotated[float, typer.Option(min=0, help="Weight of --not.")] = BETA,
    scene: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the whole picture shows: 'at night'.")
    ] = None,
    scene_weight: Annotated[float, typer.Option(min=0, help="Weight of --scene.")] = SCENE_WEIGHT,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="folder = 'night' AND area > 0.01")
    ] = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Whole pictures, not objects.")
    ] = False,
    group: Annotated[
        bool, typer.Option("--group", help="The best object of each picture.")
    ] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="Most results.")] = K,
    min_score: Annotated[float | None, typer.Option(help="The least score.")] = None,
    min_margin: Annotated[
        float | None, typer.Option(help="Least cosine above that with 'a photo' and the like.")
    ] = None,
    same: Annotated[
        float, typer.Option(help="Cosine above which near-duplicates merge; 1 shows all.")
    ] = SAME,
    template: Annotated[
        list[str] | None, typer.Option(help="'a photo of {}'; several are averaged.")
    ] = None,
    good: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A good result; repeat.")
    ] = None,
    bad: Annotated[list[str] | None, typer.Option(metavar="ID", help="A bad one; repeat.")] = None,
    out: Annotated[Path | None, typer.Option(help="A contact sheet: .png or .html.")] = None,
    as_json: common.Json = False,
    url: common.Url = DEFAULT_URL,
    timeout: common.Timeout = DEFAULT_TIMEOUT_S,
    local: common.Local = None,
) -> None:
    """Find objects, or pictures, in a store by words, by an example, or by both."""
    with console.one_line_errors():
        query = Query(
            text=text,
            image=image,
            box=box,
            point=point,
            like=like,
            alpha=alpha,
            negative=negative,
            beta=beta,
            scene=scene,
            scene_weight=scene_weight,
            where=where,
            kind=PICTURE if pictures else OBJECT,
            k=k,
            grouped=group,
            min_score=min_score,
            min_margin=min_margin,
            fold=same if same < 1 else None,
            templates=template or TEMPLATES,
            good=good or (),
            bad=bad or (),
        )
        opened = Store.open(store)
        with Index(opened, open_client(url, timeout, local)) as index:
            finds = index.find(query)
        if out is not None:
            sheet.save(finds, out)
        if as_json:
            console.print_json(finds.to_dict())
        else:
            report.print_finds(finds)
