"""`python -m demo.web`: the demo on a real Triton, a small index, and the gateway in front.

The index is kept in the output folder; pictures that are in it are not indexed again.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from fovea_client import Client, console
from fovea_client.options import AddressJson
from fovea_web.cli import serve
from fovea_web.settings import HOST, PORT, Settings

from demo.samples import FOLDER as SAMPLES
from demo.served import demo_server

PICTURES = 60


def make_index(client: Client, folder: Path, pictures: int) -> Path | None:
    """The store of an index of demo pictures; None without the packages for search."""
    try:
        from fovea_search import OtherMembers

        from demo.indexing import index
        from demo.scene_pictures import write_scenes
    except ModuleNotFoundError as error:
        console.print_error(f"no search: it needs {error.name}, pip install 'fovea[search]'")
        return None
    photos, store = folder / "photos", folder / "index"
    if not photos.is_dir():
        write_scenes(photos, pictures)
    try:
        index(client, [str(photos)], store)
    except OtherMembers:  # the demo was trained again
        shutil.rmtree(store)
        index(client, [str(photos)], store)
    return store


def main(
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = PORT,
    out: Annotated[Path, typer.Option(help="Folder of the index.")] = Path("build/web"),
    pictures: Annotated[int, typer.Option(help="Pictures of a new index; 0: none.")] = PICTURES,
    as_json: AddressJson = False,
) -> None:
    """Serve the page, and the verbs over HTTP, with the demo's models until Ctrl-C."""
    with console.one_line_errors(), demo_server() as server:
        store = None
        if pictures:
            with Client(server.grpc_url, timeout_s=120) as client:
                store = make_index(client, out, pictures)
        where = None if store is None else str(store)
        settings = Settings(url=server.grpc_url, store=where, samples=SAMPLES)
        serve(settings, HOST, port, as_json=as_json)


if __name__ == "__main__":
    typer.run(main)
