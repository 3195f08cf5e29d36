"""`python -m export.configs`: the production deployment's configurations, without weights.

They are committed in `model_repository/`, so that Triton's settings can be read and compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from export.production import production_deployment
from export.repository import write_repository


def main(out: Annotated[Path, typer.Argument()] = Path("model_repository")) -> None:
    """Write every config.pbtxt and model.py of the production deployment."""
    write_repository(out, production_deployment())


if __name__ == "__main__":
    typer.run(main)
