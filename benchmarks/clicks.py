"""From a click in the page to the frame that shows its mask, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rich.console import Console

# Debian's name, and others'.
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

SAMPLE = "man-on-snowboard.jpg"
SIZE = {"width": 1280, "height": 800}
PATIENCE_MS = 60_000
# Where the clicks go, as shares of the picture: on the man, on his board, on the snow.
PLACES = ((0.55, 0.5), (0.5, 0.75), (0.6, 0.4), (0.2, 0.9), (0.45, 0.6))
# The page's own measure, which ends with the frame that shows the mask.
MEASURE = "click-to-mask"

# The time of the pointer's event itself: the page begins its measure a little later.
_NOTE_CLICKS = """() => addEventListener(
    "pointerdown", event => { window.clickedAt = event.timeStamp; }, { capture: true })"""
_SHOWN = f"count => performance.getEntriesByName('{MEASURE}').length > count"
_COUNT = f"() => performance.getEntriesByName('{MEASURE}').length"
_TOOK_MS = f"""() => {{
    const last = performance.getEntriesByName('{MEASURE}').at(-1);
    return last.startTime + last.duration - window.clickedAt;
}}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of playwright's without a window."""
    from playwright.sync_api import sync_playwright

    assert CHROMIUM is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def click_to_mask_s(address: str, clicks: int) -> list[float]:
    """Seconds of each click but the first; none, and a line that says why, without a browser."""
    if CHROMIUM is None or find_spec("playwright") is None:
        Console(stderr=True).print("no clicks: playwright and chromium are needed for them")
        return []
    with chromium() as browser:
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE_MS)
        _open_sample(page, address)
        taken = [_click(page, number) for number in range(clicks + 1)]
    return taken[1:]


def _open_sample(page: Any, address: str) -> None:
    page.goto(address)
    page.click("#tab-points")
    page.click(f"[aria-label='Open {SAMPLE}']")
    page.wait_for_selector(f".caption-name:has-text('{SAMPLE}')")
    page.evaluate(_NOTE_CLICKS)


def _click(page: Any, number: int) -> float:
    """Seconds of one click, which is undone, so that each is a prompt of one point."""
    bounds = page.locator("#stage").bounding_box()
    across, down = PLACES[number % len(PLACES)]
    shown = page.evaluate(_COUNT)
    page.mouse.click(bounds["x"] + across * bounds["width"], bounds["y"] + down * bounds["height"])
    page.wait_for_function(_SHOWN, arg=shown)
    seconds = page.evaluate(_TOOK_MS) / 1000
    page.keyboard.press("Control+z")
    return float(seconds)
