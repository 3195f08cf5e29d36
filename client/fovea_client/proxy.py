"""The proxy that gRPC connects through, which users often do not know about."""

from __future__ import annotations

import os

# In the order that gRPC looks in: its doc/environment_variables.md.
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")


def describe_proxy(url: str) -> str | None:
    """The environment's proxy for `url`, and how to bypass it; None if there is none."""
    found = next(((name, os.environ[name]) for name in _PROXIES if os.environ.get(name)), None)
    if found is None or url.startswith(("unix:", "unix-abstract:")):
        return None
    host = url.rpartition("/")[2].rpartition(":")[0].strip("[]")
    no_proxy = next((os.environ[name] for name in _EXCEPTIONS if os.environ.get(name)), "")
    if any(entry and host.endswith(entry) for entry in no_proxy.replace(" ", "").split(",")):
        return None
    name, proxy = found
    return f"gRPC goes through the proxy {proxy} ({name}); no_proxy={host} would bypass it"
