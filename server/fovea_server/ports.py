"""TCP ports for a server that may share its machine with others."""

import socket
from dataclasses import dataclass

from fovea_server.options import ServerOptions


@dataclass(frozen=True)
class Ports:
    """The three ports of one running server."""

    grpc: int
    http: int
    metrics: int


def choose_ports(options: ServerOptions) -> Ports:
    """Replace each port 0 of the options by a free one (tritonserver itself refuses 0).

    The sockets that find the ports are all open at once, so the three differ. Another process may
    still take one before tritonserver does; the launcher then chooses again.
    """
    sockets: list[socket.socket] = []

    def choose(port: int, host: str) -> int:
        if port:
            return port
        probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        sockets.append(probe)
        probe.bind((host, 0))
        return int(probe.getsockname()[1])

    try:
        return Ports(
            grpc=choose(options.grpc_port, options.host),
            http=choose(options.http_port, options.http_address),
            metrics=choose(options.metrics_port, options.host),
        )
    finally:
        for probe in sockets:
            probe.close()


def reachable(host: str) -> str:
    """The address that reaches a server on this machine that listens on `host`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
