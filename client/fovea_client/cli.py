"""The `fovea` command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fovea import __version__
from fovea_client import console
from fovea_client.connection import DEFAULT_TIMEOUT_S, DEFAULT_URL
from fovea_client.loaded_commands import Commands
from fovea_client.models import models_record, models_tables
from fovea_client.options import (
    BoxThreshold,
    Candidates,
    FullSize,
    IouThreshold,
    Json,
    Labels,
    Local,
    MaxObjects,
    MinArea,
    MinPiece,
    Out,
    Phrases,
    Pictures,
    PointsPerSide,
    StabilityThreshold,
    TextThreshold,
    Timeout,
    Url,
    Verb,
    at_most_one_of,
    one_of,
    parse_box,
    parse_point,
    parse_text,
)
from fovea_client.runs import Run, open_client

app = typer.Typer(
    cls=Commands,
    help="Finds the thing you mean in a picture and cuts it out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    console.accept_any_name()
    if version:
        typer.echo(__version__)
        raise typer.Exit()


@app.command("main-object")
def main_object(
    pictures: Pictures,
    labels: Candidates = None,
    label: Labels = None,
    description: Annotated[
        str | None,
        typer.Option(
            parser=parse_text,
            metavar="TEXT",
            help="A sentence instead of labels: its phrases are tried.",
        ),
    ] = None,
    box_threshold: BoxThreshold = None,
    text_threshold: TextThreshold = None,
    out: Out = None,
    as_json: Json = False,
    verb: Verb = None,
    detect_verb: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Verb that finds a description's words, if not detect."),
    ] = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    local: Local = None,
) -> None:
    """Which of the labels is the picture about? Prints its box and its mask."""
    asked = one_of("--labels, --label or --description", labels, label, description)
    Run(pictures, url, timeout, local, as_json=as_json, out=out).ask(
        lambda client, picture: client.main_object(
            picture,
            None if description is not None else asked,
            description=description,
            box_threshold=box_threshold,
            text_threshold=text_threshold,
            verb=verb,
            detect_verb=detect_verb,
        )
    )


@app.command()
def detect(
    pictures: Pictures,
    text: Phrases = None,
    label: Labels = None,
    box_threshold: BoxThreshold = None,
    text_threshold: TextThreshold = None,
    out: Out = None,
    as_json: Json = False,
    verb: Verb = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    local: Local = None,
) -> None:
    """Boxes of the things that the text or the labels name, or of the detector's own classes."""
    asked = at_most_one_of("--text or --label", text, label)
    Run(pictures, url, timeout, local, as_json=as_json, out=out).ask(
        lambda client, picture: client.detect(
            picture,
            asked,
            box_threshold=box_threshold,
            text_threshold=text_threshold,
            verb=verb,
        )
    )


@app.command("detect-and-segment")
def detect_and_segment(
    pictures: Pictures,
    text: Phrases = None,
    label: Labels = None,
    box_threshold: BoxThreshold = None,
    text_threshold: TextThreshold = None,
    out: Out = None,
    as_json: Json = False,
    verb: Verb = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    local: Local = None,
) -> None:
    """The boxes of `detect`, and the mask in each."""
    asked = at_most_one_of("--text or --label", text, label)
    Run(pictures, url, timeout, local, as_json=as_json, out=out).ask(
        lambda client, picture: client.detect_and_segment(
            picture,
            asked,
            box_threshold=box_threshold,
            text_threshold=text_threshold,
            verb=verb,
        )
    )


@app.command()
def segment(
    pictures: Pictures,
    box: Annotated[
        list[Any] | None,
        typer.Option(parser=parse_box, metavar="X1,Y1,X2,Y2", help="A box; repeatable."),
    ] = None,
    point: Annotated[
        list[Any] | None,
        typer.Option(parser=parse_point, metavar="X,Y", help="A point on a thing; repeatable."),
    ] = None,
    background: Annotated[
        list[Any] | None,
        typer.Option(
            parser=parse_point, metavar="X,Y", help="A point beside the thing; implies --together."
        ),
    ] = None,
    together: Annotated[
        bool, typer.Option(help="All points mean one thing, not one each.")
    ] = False,
    out: Out = None,
    as_json: Json = False,
    verb: Verb = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    local: Local = None,
) -> None:
    """The mask that each box or point marks, in pixels of the picture."""
    points: list[Any] = [*(point or ()), *(background or ())]
    point_labels: list[Any] = [1] * len(point or ()) + [0] * len(background or ())
    if (together or background) and points:
        points, point_labels = [points], [point_labels]
    Run(pictures, url, timeout, local, as_json=as_json, out=out).ask(
        lambda client, picture: client.segment(
            picture,
            boxes=box or None,
            points=points or None,
            point_labels=point_labels or None,
            verb=verb,
        )
    )


@app.command("segment-everything")
def segment_everything(
    pictures: Pictures,
    points_per_side: PointsPerSide = None,
    iou_threshold: IouThreshold = None,
    stability_threshold: StabilityThreshold = None,
    min_area: MinArea = None,
    min_piece: MinPiece = None,
    max_objects: MaxObjects = None,
    full_size: FullSize = None,
    out: Out = None,
    as_json: Json = False,
    verb: Verb = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    local: Local = None,
) -> None:
    """The mask of every object in the picture."""
    Run(pictures, url, timeout, local, as_json=as_json, out=out).ask(
        lambda client, picture: client.segment_everything(
            picture,
            points_per_side=points_per_side,
            iou_threshold=iou_threshold,
            stability_threshold=stability_threshold,
            min_area=min_area,
            min_piece=min_piece,
            max_objects=max_objects,
            full_size=full_size,
            verb=verb,
        )
    )


@app.command("embed-objects")
def embed_objects(
    pictures: Pictures,
    points_per_side: PointsPerSide = None,
    iou_threshold: IouThreshold = None,
    stability_threshold: StabilityThreshold = None,
    min_area: MinArea = None,
    min_piece: MinPiece = None,
    max_objects: MaxObjects = None,
    full_size: FullSize = None,
    out: Out = None,
    as_json: Json = False,
    verb: Verb = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    local: Local = None,
) -> None:
    """The mask of every object, and the embedder's vector of each and of the picture."""
    Run(pictures, url, timeout, local, as_json=as_json, out=out).ask(
        lambda client, picture: client.embed_objects(
            picture,
            points_per_side=points_per_side,
            iou_threshold=iou_threshold,
            stability_threshold=stability_threshold,
            min_area=min_area,
            min_piece=min_piece,
            max_objects=max_objects,
            full_size=full_size,
            verb=verb,
        )
    )


@app.command("segment-scene")
def segment_scene(
    pictures: Pictures,
    threshold: Annotated[
        float | None, typer.Option(help="Least score of a segment, 0 to 1.")
    ] = None,
    out: Out = None,
    as_json: Json = False,
    verb: Verb = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    local: Local = None,
) -> None:
    """The parts of the scene: masks of the segmenter's own classes."""
    Run(pictures, url, timeout, local, as_json=as_json, out=out).ask(
        lambda client, picture: client.segment_scene(picture, threshold=threshold, verb=verb)
    )


@app.command()
def classify(
    pictures: Pictures,
    labels: Candidates = None,
    label: Labels = None,
    template: Annotated[
        str | None,
        typer.Option(
            parser=parse_text,
            metavar="TEXT",
            help="A text for each label, with {} in its place: 'This is a photo of {}.'",
        ),
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Most labels of a picture.")] = None,
    as_json: Json = False,
    verb: Verb = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    local: Local = None,
) -> None:
    """The labels that fit the pictures best; without labels, a classifier's own classes."""
    asked = one_of("--labels or --label", labels, label) if labels or label else None
    Run(pictures, url, timeout, local, as_json=as_json).ask(
        lambda client, picture: client.classify(
            picture, asked, template=template, top_k=top_k, verb=verb
        )
    )


@app.command()
def embed(
    pictures: Annotated[
        list[Path] | None, typer.Argument(help="Picture files, or folders of them.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(parser=parse_text, metavar="TEXT", help="A text instead of pictures."),
    ] = None,
    audio: Annotated[
        Path | None, typer.Option(help="A sound: a WAV file of 16,000 samples a second.")
    ] = None,
    depth: Annotated[Path | None, typer.Option(help="A depth picture: a grey PNG.")] = None,
    thermal: Annotated[Path | None, typer.Option(help="A thermal picture: a grey PNG.")] = None,
    imu: Annotated[
        Path | None, typer.Option(help="An IMU recording: a .npy file of [6, 2000].")
    ] = None,
    as_json: Json = False,
    verb: Verb = None,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    local: Local = None,
) -> None:
    """The embedder's vectors of pictures, or its vector of a text, a sound, …"""
    others = {"text": text, "audio": audio, "depth": depth, "thermal": thermal, "imu": imu}
    given = [(name, value) for name, value in others.items() if value is not None]
    if len(given) + bool(pictures) != 1:
        raise typer.BadParameter(f"give pictures or --{', --'.join(others)}, one of them")
    if pictures:
        Run(pictures, url, timeout, local, as_json=as_json).ask(
            lambda client, picture: client.embed_image(picture, verb=verb)
        )
        return
    with console.one_line_errors(), open_client(url, timeout, local) as client:
        [(name, value)] = given
        embedding = getattr(client, f"embed_{name}")(value, verb=verb)
        if as_json:
            key = name if name == "text" else "source"
            console.print_json({key: str(value), **console.to_record(embedding)})
        else:
            console.print_table([(str(value), embedding)])


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    url: Url = DEFAULT_URL,
    timeout: Timeout = DEFAULT_TIMEOUT_S,
    local: Local = None,
) -> None:
    """List the verbs, their members, and their classes and licences."""
    with console.one_line_errors(), open_client(url, timeout, local) as client:
        served = client.verbs(timeout_s=timeout)
    if as_json:
        console.print_json(models_record(served))
    else:
        console.print_tables(models_tables(served))
