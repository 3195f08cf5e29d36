"""`python -m export.models_page`: writes docs/models.md from the registry and the figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from export.families import MODEL_TYPES
from export.family_engines import is_built, read
from export.family_examples import EXAMPLES, KNOWN_AS
from export.family_real_size import read_rows
from export.licences import LICENCES
from fovea import families
from fovea.roles import ROLES
from fovea.verbs import VERBS

PAGE = Path("docs/models.md")

# By checkpoint, as `export.family_engines` and `export.family_real_size` read them.
Rows = Mapping[str, dict[str, Any]]

_HEAD = """# Models

Every family that a deployment's member can be, by role; `make models` generates this page from
the registry. Name a checkpoint in a TOML file, and `python -m export` finds its family by what
the checkpoint says of itself; `{ checkpoint = "…", family = "…" }` overrides that. One line
replaces a model with another:

```diff
 [members]
-dino  = "IDEA-Research/grounding-dino-tiny"
+dino  = "google/owlv2-base-patch16-ensemble"
```

`{ checkpoint = "./mobile_sam.pt", image_size = 512 }` is MobileSAM in upstream's own file; without
`image_size`, its pictures have the 1024 pixels that it was trained on.

Licences are those of the code that the weights came with, and of the well-known weights; a
checkpoint's own model card decides, and the manifest of an export records it.

The column RTX counts the TensorRT for RTX engines that build, out of all: each family's small
checkpoints in fp32 and fp16 for SM 8.6 and 8.9, built by `make engines-rtx`. OpenVINO answers as
ONNX Runtime does for every family here (`make families`).
"""

_FIGURES = """
## At real size

Random weights in the shapes of well-known checkpoints, on {cores} cores ({processor}), printed by
`make families-real-size`, and for YOLO files by `make families-yolo`: one picture or text a call,
ONNX Runtime and PyTorch eager in turns, fp32. The difference is the worst against PyTorch, or
against the file, over outputs, batches and samples, relative if values are above 1.

| as | network | MB | ONNX Runtime ms | PyTorch ms | difference |
| --- | --- | --- | --- | --- | --- |
"""
_FOOT = """
This project has not run any of these on a GPU yet: it only knows that TensorRT builds the engines.
"""


def page(figures: Rows, engines: Rows) -> str:
    """The text of docs/models.md, from the figures at real size and from what was built."""
    sections = [_HEAD]
    for role in ROLES:
        names = [name for name in families.FAMILIES if role == families.load(name).ROLE]
        if names:
            sections.append(_role_section(role, sorted(names), engines))
    if figures:
        sections.append(_figures(figures))
    return "".join(sections)


def verbs_of(role: str) -> list[str]:
    """The verbs that a member of this role can take part in."""
    return [verb for verb, fits in _fitting(role).items() if any(fits.values())]


def _fitting(role: str) -> dict[str, dict[str, bool]]:
    """Whether a member of this role fits each slot, by verb."""
    return {
        verb: {slot: issubclass(ROLES[role], kinds) for slot, kinds in slots.items()}
        for verb, slots in VERBS.items()
    }


def example(role: str, family: str) -> str:
    """A deployment's TOML with a member of this role, and all that it does without others."""
    alone = {verb: slots for verb, slots in _fitting(role).items() if all(slots.values())}
    verbs = ""
    for verb, slots in alone.items():
        filled = ", ".join(f'{slot} = "{family}"' for slot in slots)
        verbs += f"{verb} = {{ {filled} }}\n"
    return f"[members]\n{family} = {EXAMPLES[family]}\n\n[verbs]\n{verbs}"


def _role_section(role: str, names: list[str], engines: Rows) -> str:
    about = (ROLES[role].__doc__ or "").strip().splitlines()[0]
    rows = []
    for name in names:
        types = ", ".join(f"`{key}`" for key, family in MODEL_TYPES.items() if family == name)
        licence = LICENCES[name]
        rows.append(
            f"| `{name}` | `{EXAMPLES[name]}` | {types or '—'} | {licence.code} "
            f"| {licence.weights} | {built(name, engines)} |\n"
        )
    return (
        f"\n## {role}\n\n{about} Verbs: {', '.join(f'`{verb}`' for verb in verbs_of(role))}.\n\n"
        f"```toml\n{example(role, names[0])}```\n\n"
        "| family | checkpoint, for example | `model_type` | code | weights | RTX |\n"
        "| --- | --- | --- | --- | --- | --- |\n" + "".join(rows)
    )


def built(family: str, engines: Rows) -> str:
    """How many engines of a family's checkpoints were built, out of how many."""
    found = [
        is_built(engine)
        for row in engines.values()
        if row["family"] == family
        for engine in row["engines"]
    ]
    return f"{sum(found)} of {len(found)}" if found else "not tried"


def _figures(figures: Rows) -> str:
    rows = []
    for name, checkpoint in figures.items():
        for network in checkpoint["networks"]:
            rows.append(
                f"| {KNOWN_AS[name]} | {network['name']} | {network['megabytes']:.0f} "
                f"| {network['onnxruntime_ms']:.0f} | {network['pytorch_ms']:.0f} "
                f"| {network['difference']:.1e} |\n"
            )
    measured = next(iter(figures.values()))["machine"]
    return _FIGURES.format(**measured) + "".join(rows) + _FOOT


def main(out: Annotated[Path, typer.Option(help="The page.")] = PAGE) -> None:
    """Write docs/models.md."""
    out.write_text(page(read_rows(), read()))


if __name__ == "__main__":
    typer.run(main)
