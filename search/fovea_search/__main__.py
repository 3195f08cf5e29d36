"""`python -m fovea_search`: the commands without the others of `fovea`."""

from fovea_search.cli import app

app()
