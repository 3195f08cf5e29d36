"""The commands `fovea web` and `fovea web-keys`; `fovea_client.cli` loads them on demand."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from fovea_client import InvalidInput, console
from fovea_client import options as common
from fovea_client.connection import DEFAULT_TIMEOUT_S, DEFAULT_URL

from fovea_web import keys
from fovea_web.app import make_app
from fovea_web.settings import HOST, LOOPBACK, MAX_BODY_BYTES, PORT, Settings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
keys_app = typer.Typer(help="API keys for callers of the gateway.", no_args_is_help=True)
app.add_typer(keys_app, name="web-keys")

SAMPLES = Path("demo/samples")
GRACE_S = 30
MIB = 1024 * 1024
_DEFAULT = Settings()

KeysFile = Annotated[Path, typer.Option("--keys", metavar="FILE", help="File of the hashes.")]


@app.command()
def web(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = PORT,
    store: Annotated[
        str | None, typer.Option(metavar="STORE", help="An index of `fovea index` to search in.")
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Pictures of the page: demo/samples, if there."),
    ] = None,
    keys_file: Annotated[
        Path | None,
        typer.Option("--keys", metavar="FILE", help="Who may call: see `fovea web-keys`."),
    ] = None,
    no_keys: Annotated[
        bool, typer.Option("--no-keys", help="Let everybody call who can reach --host.")
    ] = False,
    rate: Annotated[
        str, typer.Option(help="Rate limit of a key, or of an address without keys.")
    ] = _DEFAULT.rate,
    max_body_mib: Annotated[
        float, typer.Option(min=0.01, help="Most MiB of a request, or of a line of a batch.")
    ] = MAX_BODY_BYTES / MIB,
    in_flight: Annotated[int, typer.Option(min=1, help="Requests at once.")] = _DEFAULT.in_flight,
    lines: Annotated[int, typer.Option(min=1, help="Lines of a batch at once.")] = _DEFAULT.lines,
    url_host: Annotated[
        list[str] | None,
        typer.Option("--allow-url-host", metavar="HOST", help="Fetch image_url from it; repeat."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A host name of this gateway; repeatable."),
    ] = None,
    as_json: common.AddressJson = False,
    url: common.Url = DEFAULT_URL,
    timeout: common.Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Serve the verbs over HTTP, and a page to try them, in front of a fovea server."""
    with console.one_line_errors():
        check_open(host, keys_file, no_keys=no_keys)
        settings = Settings(
            url=url,
            store=store,
            samples=_samples(samples),
            keys=keys_file,
            rate=rate,
            body_bytes=int(max_body_mib * MIB),
            timeout_s=timeout,
            in_flight=in_flight,
            lines=lines,
            url_hosts=tuple(url_host or ()),
            hosts=tuple(allow_host or ()) if host in LOOPBACK or allow_host else None,
        )
        serve(settings, host, port, as_json=as_json)


def check_open(host: str, keys_file: Path | None, *, no_keys: bool) -> None:
    """Raise InvalidInput if other machines could call without keys, unless that was requested."""
    if host not in LOOPBACK and keys_file is None and not no_keys:
        raise InvalidInput(
            f"{host} can be reached by others: expected --keys FILE (fovea web-keys add NAME), or "
            "--no-keys to let everybody ask"
        )
    if keys_file is not None and no_keys:
        raise InvalidInput("expected --keys or --no-keys, got both")


def serve(settings: Settings, host: str, port: int, *, as_json: bool = False) -> None:
    """Run the gateway until it is interrupted."""
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when all requests have ended
        _Server(settings, host, port, as_json=as_json).run()


class _Server(uvicorn.Server):
    """Prints where it listens, once it does."""

    def __init__(self, settings: Settings, host: str, port: int, *, as_json: bool) -> None:
        config = uvicorn.Config(
            make_app(settings),
            host=host,
            port=port,
            log_level="warning",
            # A caller on this machine could claim any address, and get a new rate limit for each.
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        super().__init__(config)
        self._as_json = as_json

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets)  # type: ignore[arg-type]
        if not self.started:
            return
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        if self._as_json:
            console.print_json({"url": address})
        else:
            typer.echo(f"fovea is on {address}/")


def _samples(folder: Path | None) -> Path | None:
    if folder is not None and not folder.is_dir():
        raise InvalidInput(f"expected a folder of pictures, got {str(folder)!r}")
    return folder or (SAMPLES if SAMPLES.is_dir() else None)


@keys_app.command()
def add(
    name: Annotated[str, typer.Argument(help="The key's owner.")],
    keys_file: KeysFile = Path("keys.txt"),
    expires: Annotated[
        str | None, typer.Option(metavar="DATE", help="When it expires, such as 2027-01-31.")
    ] = None,
) -> None:
    """Make a key, and print it once."""
    with console.one_line_errors():
        typer.echo(keys.add(keys_file, name, expires))


@keys_app.command()
def remove(
    name: Annotated[str, typer.Argument(help="The key's owner.")],
    keys_file: KeysFile = Path("keys.txt"),
) -> None:
    """Revoke a key; a running gateway sees it with the next request."""
    with console.one_line_errors():
        keys.remove(keys_file, name)


@keys_app.command("list")
def list_keys(keys_file: KeysFile = Path("keys.txt"), as_json: common.Json = False) -> None:
    """List the keys' owners, and when they expire."""
    with console.one_line_errors():
        for key in keys.read(keys_file):
            expires = None if key.expires is None else key.expires.isoformat()
            if as_json:
                console.print_json({"name": key.name, "expires": expires})
            else:
                typer.echo(f"{key.name}  {expires or 'never expires'}")
