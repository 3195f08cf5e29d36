"""`python -m fovea_search`: the search commands, without the others of `fovea`."""

from fovea_search.cli import app

if __name__ == "__main__":
    app()
