"""The page in the distribution's Chromium, by Playwright: a person's actions as methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from fovea_client import Mask
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext, Locator, Page

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
DESKTOP, PHONE = (1280, 800), (360, 740)
# Long enough for a picture's first encoding on a machine that others share.
PATIENCE_MS = 30_000

HASTE = """(clicks) => {
  for (let click = 0; click < clicks; click++) {
    document.querySelector('#stage').dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter' }));
  }
}"""
DECODE = """async (rle) => {
  const { Mask } = await import(new URL('static/masks.js', document.baseURI));
  const { area, box, pixels } = new Mask(rle);
  return [area, box, Array.from(pixels)];
}"""
EXPLAIN = """async ([kind, status]) => {
  const { Problem } = await import(new URL('static/api.js', document.baseURI));
  const { explain } = await import(new URL('static/problems.js', document.baseURI));
  return explain(new Problem({ type: `/problems/${kind}`, status })).title;
}"""
QUOTE = """async (text) => {
  const { quote, toPython } = await import(new URL('static/snippets.js', document.baseURI));
  return [toPython([text, null, 1.5]), quote(text)];
}"""
GIVE = """async ([kind, name]) => {
  const blob = await new OffscreenCanvas(60, 40).getContext('2d').canvas.convertToBlob();
  const data = new DataTransfer();
  data.items.add(new File([blob], name, { type: 'image/png' }));
  const options = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(kind === 'paste'
    ? new ClipboardEvent('paste', { ...options, clipboardData: data })
    : new DragEvent('drop', { ...options, dataTransfer: data }));
}"""


class Visitor:
    """A person before the page. complaints: errors in the console and on the page."""

    def __init__(
        self, context: BrowserContext, address: str, mode: str = "", *, ready: bool = True
    ) -> None:
        self.address = address
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.goto(f"{address}/{mode}")
        self.page.wait_for_selector("#tabs .tab" if ready else ".problem")

    def _hear(self, message: Any) -> None:
        # A refusal that the page explains is not an error of the page.
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def mode(self, name: str) -> None:
        self.page.click(f"#tab-{name}")

    def sample(self, name: str = "man-on-snowboard.jpg") -> None:
        self.page.click(f"[aria-label='Open {name}']")
        self.page.wait_for_selector(f".caption-name:has-text('{name}')")

    def file(self, path: Path) -> None:
        self.page.set_input_files("#file", path)

    def find(self, words: str, question: str | None = None) -> None:
        """Search for words; waits for the answer."""
        if question is not None:
            self.page.click(f".segmented >> text={question}")
        self.page.fill("#words", words)
        with self.page.expect_response(lambda answer: "/v1/" in answer.url):
            self.page.click("text=Find it")
        self.page.wait_for_selector(".times")

    def search(self, words: str) -> None:
        self.page.fill("#search-text", words)
        self.searched(lambda: self.page.keyboard.press("Enter"))

    def searched(self, act: Any) -> None:
        """Run an action that searches; waits for the finds."""
        with self.page.expect_response("**/v1/search"):
            act()
        self.page.wait_for_selector(".cards:not(.waiting) .card-picture.drawn")

    def at(self, x: float, y: float, canvas: str = "#stage") -> tuple[float, float]:
        """The screen position of a pixel of the picture."""
        bounds = self.page.locator(canvas).bounding_box()
        assert bounds is not None
        text = self.page.inner_text(".caption .fine >> nth=0", timeout=1000)
        width, height = (int(part) for part in text.split(" × "))
        scale = min(bounds["width"] / width, bounds["height"] / height)
        left = bounds["x"] + (bounds["width"] - width * scale) / 2
        top = bounds["y"] + (bounds["height"] - height * scale) / 2
        return left + x * scale, top + y * scale

    def click(self, x: float, y: float, *, button: Any = "left", alt: bool = False) -> None:
        """Click a pixel of the picture."""
        if alt:
            self.page.keyboard.down("Alt")
        self.page.mouse.click(*self.at(x, y), button=button)
        if alt:
            self.page.keyboard.up("Alt")

    def drag(self, box: tuple[float, float, float, float], canvas: str = "#stage") -> None:
        """Draw a box, in pixels of the picture."""
        self.page.mouse.move(*self.at(*box[:2], canvas))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(*box[2:], canvas), steps=3)
        self.page.mouse.up()

    def masked(self, act: Any) -> None:
        """Run an action that requests a mask; waits until it is drawn."""
        before = len(self.click_to_mask_ms())
        act()
        self.page.wait_for_function(
            "n => performance.getEntriesByName('click-to-mask').length > n", arg=before
        )

    def click_to_mask_ms(self) -> list[float]:
        """Times from each prompt to the frame that shows its mask."""
        measured: list[float] = self.page.evaluate(
            "performance.getEntriesByName('click-to-mask').map((one) => one.duration)"
        )
        return measured

    def rows(self) -> list[str]:
        return self.page.locator(".ranked-label").all_inner_texts()

    def take(self, what: str) -> Path:
        """Download "png" or "coco"; returns the file."""
        with self.page.expect_download() as download:
            self.page.click(f"[data-take={what}]")
        path = Path(download.value.path())
        return path.rename(path.with_name(download.value.suggested_filename))

    def coco(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.take("coco").read_text())
        return found

    def masks(self) -> list[NDArray[np.bool_]]:
        """The masks on the screen, bool [H, W] each."""
        drawn = [one["segmentation"] for one in self.coco()["annotations"]]
        return [Mask(one["counts"].encode(), tuple(one["size"])).to_numpy() for one in drawn]

    def code(self) -> dict[str, str]:
        """The snippets by language."""
        self.page.click("[data-take=code]")
        found = {}
        for name in ("Python", "curl"):
            self.page.click(f"#dialog >> text={name}")
            found[name] = self.page.inner_text("#dialog .code")
        self.page.keyboard.press("Escape")
        return found

    def enter_at_once(self, times: int) -> None:
        """Press Enter on the picture faster than any answer comes."""
        self.page.evaluate(HASTE, times)

    def give(self, event: str, name: str) -> None:
        """Pass in a small picture by "drop" or "paste"."""
        self.page.evaluate(GIVE, [event, name])

    def decode(self, rle: dict[str, Any]) -> tuple[int, list[int], list[int]]:
        """Area, box and pixels within it, as the page decodes pycocotools' run lengths."""
        area, box, pixels = self.page.evaluate(DECODE, {**rle, "counts": rle["counts"].decode()})
        return area, box, pixels

    def quote(self, text: str) -> tuple[str, str]:
        """A text in the page's Python snippets, in a list with others, and in its curl."""
        python, word = self.page.evaluate(QUOTE, text)
        return python, word

    def explain(self, kind: str, status: int) -> str:
        """The title that the page shows for a problem."""
        title: str = self.page.evaluate(EXPLAIN, [kind, status])
        return title

    def problem(self) -> str:
        return self.page.inner_text(".problem")

    def faults(self) -> list[str]:
        """The serious or critical findings of axe-core, with their places."""
        self.page.evaluate(AXE.read_text())
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")
        return [
            f"{one['id']}: {node['html'][:120]} {node.get('failureSummary', '')}"
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def is_wider_than_the_screen(self) -> bool:
        wide: bool = self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        return wide

    def __getitem__(self, selector: str) -> Locator:
        return self.page.locator(selector)
