"""`python -m tests.web.page_pictures`: the page's screenshots for the documents, docs/web-*.png."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from fovea_client import Client
from fovea_web.settings import Settings
from PIL import Image
from playwright.sync_api import Browser

from benchmarks.clicks import chromium
from demo import search_world
from demo.samples import FOLDER as SAMPLES
from demo.search import FIRST_SEED, index_all
from demo.served import demo_server
from tests.web.browser import DESKTOP, PHONE, Visitor
from tests.web.conftest import served

OUT = Path("docs")
MOST_BYTES = 200_000
# The demo's pictures are grainy, which no PNG makes small; fewer colours do.
PALETTES = (256, 192, 128, 96)
KMEANS, WIDTH = 3, 1024
INDEXED = 40
TRAIN, CAR, SNOWBOARD = "scene-08.jpg", "scene-02.jpg", "man-on-snowboard.jpg"


def words(person: Visitor) -> None:
    person.sample(TRAIN)
    person.find("train, clock, bus, cat", "All of them")


def points(person: Visitor) -> None:
    person.mode("points")
    person.sample(SNOWBOARD)
    person.masked(lambda: person.click(280, 240))
    person.page.click("text=New object")
    person.masked(lambda: person.drag((20, 68, 190, 250)))


def everything(person: Visitor) -> None:
    person.mode("everything")
    person.sample(CAR)
    person.page.wait_for_selector(".tile .thumb")


def search(person: Visitor) -> None:
    person.mode("search")
    person.search("cow")
    person.page.wait_for_function(
        "() => document.querySelectorAll('.card-picture.drawn').length >= 9"
    )


def shot(browser: Browser, address: str, name: str, flow: Callable[[Visitor], None]) -> bytes:
    """A flow's last state as a PNG; its name tells whether it is dark, or on a phone."""
    width, height = PHONE if name == "mobile" else DESKTOP
    scheme = "dark" if name == "dark" else "light"
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    person = Visitor(context, address)
    flow(person)
    person.page.mouse.move(0, 0)
    person.page.wait_for_timeout(500)
    taken = person.page.screenshot(full_page=name == "mobile")
    context.close()
    return taken


def smaller(png: bytes) -> bytes:
    """At most WIDTH pixels wide, with as many colours as fit into MOST_BYTES."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture.thumbnail((WIDTH, picture.height), Image.Resampling.LANCZOS)
    for colours in PALETTES:
        file = io.BytesIO()
        # Median cut alone would give the page's few accents the colours of the picture.
        drawn = picture.quantize(colours, kmeans=KMEANS, dither=Image.Dither.NONE)
        drawn.save(file, "PNG", optimize=True)
        if file.tell() <= MOST_BYTES:
            break
    return file.getvalue()


def main() -> None:
    """Serve, take screenshots, write."""
    flows = {
        "words": words,
        "points": points,
        "everything": everything,
        "search": search,
        "mobile": words,
        "dark": points,
    }
    with TemporaryDirectory() as folder, demo_server() as server, chromium() as browser:
        photos, store = Path(folder, "photos"), Path(folder, "index")
        search_world.write(photos, range(FIRST_SEED, FIRST_SEED + INDEXED))
        with Client(server.grpc_url, timeout_s=120) as client:
            index_all(client, photos, store)
        settings = Settings(url=server.grpc_url, store=str(store), samples=SAMPLES)
        with served(settings) as address:
            for name, flow in flows.items():
                path = OUT / f"web-{name}.png"
                path.write_bytes(smaller(shot(browser, address, name, flow)))
                print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
