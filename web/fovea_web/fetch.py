"""Fetches pictures from allowed hosts, never from inside the network.

A host's name is resolved once, all its addresses are checked, and the connection goes to the
checked one: a name that changes its address a moment later has no effect. Redirects follow the same
rule.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import httpx2

from fovea_web.problems import BodyTooLarge, FetchFailed, InvalidUrl

MOST_REDIRECTS = 3
CONNECT_S, ALL_S = 5.0, 15.0
PORTS = {"http": 80, "https": 443}
REDIRECTS = (301, 302, 303, 307, 308)
# IPv4 addresses within IPv6 ones, which routers unpack: RFC 6052 and RFC 8215.
_TRANSLATED = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48")))


@dataclass(frozen=True)
class Target:
    """A checked address: where to connect, and the host to request there."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def at(self, address: str) -> str:
        """The same with the host's address instead of its name."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{self.port}{self.path}"


class Fetcher:
    """Fetches from some hosts: "images.example.org", or with its own port, "example.org:8443".

    most_bytes: limit for a picture. private: allows addresses of this machine and its networks, for
    tests only.
    """

    def __init__(self, hosts: tuple[str, ...], most_bytes: int, *, private: bool = False) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._most_bytes, self._private = most_bytes, private

    async def fetch(self, url: str) -> bytes:
        """The bytes at an address.

        Raises InvalidUrl for a forbidden one, FetchFailed if it returns none, BodyTooLarge.
        """
        try:
            return await asyncio.wait_for(self._follow(url), ALL_S)
        except asyncio.TimeoutError as error:
            raise FetchFailed(f"expected a picture within {ALL_S:g} s from {url!r:.200}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise FetchFailed(f"expected a picture at {url!r:.200}: {error!r:.200}") from error

    async def _follow(self, url: str) -> bytes:
        # Proxies from the environment would bypass the address check.
        options = httpx2.Timeout(ALL_S, connect=CONNECT_S)
        async with httpx2.AsyncClient(trust_env=False, timeout=options) as client:
            for _ in range(MOST_REDIRECTS + 1):
                answer = await self._get(client, self._check(url))
                if isinstance(answer, bytes):
                    return answer
                url = urljoin(url, answer)
        raise FetchFailed(f"expected at most {MOST_REDIRECTS} redirects, got more")

    async def _get(self, client: httpx2.AsyncClient, target: Target) -> bytes | str:
        """The bytes, or the address of a redirect."""
        headers = {"Host": target.authority, "Accept": "image/*", "Accept-Encoding": "identity"}
        request = client.build_request(
            "GET",
            target.at(await self._resolve(target)),
            headers=headers,
            extensions={"sni_hostname": target.host},
        )
        answer = await client.send(request, stream=True)
        try:
            if answer.status_code in REDIRECTS:
                return answer.headers.get("location", "")
            if answer.status_code != 200:
                raise FetchFailed(f"expected 200 of {target.authority}, got {answer.status_code}")
            return await self._read(answer)
        finally:
            await answer.aclose()

    async def _read(self, answer: httpx2.Response) -> bytes:
        data = bytearray()
        async for chunk in answer.aiter_raw():
            data += chunk
            if len(data) > self._most_bytes:
                raise BodyTooLarge(f"expected a picture of at most {self._most_bytes} bytes")
        return bytes(data)

    def _check(self, url: str) -> Target:
        if not self._hosts:
            raise InvalidUrl("expected the picture itself: this gateway fetches from nowhere")
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError as error:
            raise InvalidUrl(f"expected an address, got {url!r:.200}") from error
        if parts.scheme not in PORTS or not host or parts.username or parts.password:
            raise InvalidUrl(f"expected http://HOST/… or https://HOST/…, got {url!r:.200}")
        named = host if port in (None, PORTS[parts.scheme]) else f"{host}:{port}"
        if named not in self._hosts:
            allowed = ", ".join(sorted(self._hosts))
            raise InvalidUrl(f"expected one of the hosts {allowed}, got {named!r:.200}")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(parts.scheme, host, port or PORTS[parts.scheme], path)

    async def _resolve(self, target: Target) -> str:
        """An address of the host; raises InvalidUrl if any of them is not public."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise FetchFailed(f"expected a host that is there, got {target.host!r:.200}") from error
        addresses = [str(one[4][0]) for one in found]
        for address in addresses:
            if not self._private and not is_public(address):
                raise InvalidUrl(f"expected a public address, {target.host!r} is {address}")
        return addresses[0]


def is_public(address: str) -> bool:
    """Whether an IP address is public, and embeds no private one."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        hides = ip.ipv4_mapped or ip.sixtofour or ip.teredo
        if hides or any(ip in network for network in _TRANSLATED):
            return False
    return ip.is_global and not ip.is_multicast
