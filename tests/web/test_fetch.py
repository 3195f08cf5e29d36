"""Fetching pictures: from allowed hosts, from no private address, and within bounds."""

import asyncio
import ipaddress
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from fovea_web import fetch
from fovea_web.fetch import Fetcher, is_public
from fovea_web.problems import BodyTooLarge, FetchFailed, InvalidUrl
from fovea_web.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

from tests.web.conftest import asking
from tests.web.test_gate import is_problem

PICTURE = b"\x89PNG\r\n\x1a\n" + b"pixels" * 20
MOST = 1000


class Site(BaseHTTPRequestHandler):
    """/picture, /moved?WHERE, /large, /slow; anything else is not there."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/moved":
            self.send_response(302)
            self.send_header("Location", query)
            self.end_headers()
            return
        bodies = {"/picture": PICTURE, "/large": b"x" * (MOST + 1), "/slow": PICTURE}
        self.send_response(200 if path in bodies else 404)
        self.end_headers()
        if path == "/slow":
            time.sleep(0.5)
        self.wfile.write(bodies.get(path, b""))

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """host:port of a site on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def get(url: str, *hosts: str, private: bool = True) -> bytes:
    return asyncio.run(Fetcher(hosts, MOST, private=private).fetch(url))


def test_a_picture_comes_from_an_allowed_host(site):
    assert get(f"http://{site}/picture", site) == PICTURE
    assert get(f"http://{site}/moved?/picture", site) == PICTURE


def test_the_connection_goes_to_the_checked_address(site):
    port = site.rpartition(":")[2]
    assert get(f"http://localhost:{port}/picture", f"localhost:{port}") == PICTURE


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/picture",
        "http://127.0.0.1/picture",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "//127.0.0.1/x",
        "http://",
        "http://[::1",
        "http://user:secret@{site}/picture",
        "http://{site}@other.example/",
        "gopher://{site}/",
        "",
    ],
)
def test_other_addresses_are_not_fetched(site, url):
    with pytest.raises(InvalidUrl):
        get(url.format(site=site), site)


def test_without_hosts_nothing_is_fetched(site):
    with pytest.raises(InvalidUrl, match="nowhere"):
        get(f"http://{site}/picture")


def test_an_allowed_name_of_a_private_address_is_refused(site):
    for host in (site, "localhost"):
        with pytest.raises(InvalidUrl, match="public"):
            get(f"http://{host}/picture", host, private=False)


def test_a_redirect_follows_the_same_rules(site):
    for where in ("http://other.example/", "file:///etc/passwd", "//169.254.169.254/latest"):
        with pytest.raises(InvalidUrl):
            get(f"http://{site}/moved?{where}", site)
    with pytest.raises(FetchFailed, match="redirects"):
        get(f"http://{site}/moved?/moved?/moved?/moved?/moved?/picture", site)


def test_size_and_time_are_bounded(site, monkeypatch):
    with pytest.raises(BodyTooLarge):
        get(f"http://{site}/large", site)
    monkeypatch.setattr(fetch, "ALL_S", 0.2)
    with pytest.raises(FetchFailed, match="within"):
        get(f"http://{site}/slow", site)


def test_a_missing_picture_is_reported(site):
    with pytest.raises(FetchFailed, match="404"):
        get(f"http://{site}/nothing", site)
    with pytest.raises(FetchFailed):
        get("http://127.0.0.1:1/picture", "127.0.0.1:1")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1",
        "ff02::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::7f00:1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


def test_addresses_that_are_public():
    assert is_public("93.184.216.34") and is_public("2606:4700::1111")


@given(st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="127.0.0.0/8"))
def test_no_form_of_a_private_address_is_public(address):
    assert not is_public(str(address))
    assert not is_public(str(ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)))


def test_the_gateway_fetches_from_no_host_by_default(triton, site):
    with asking(Settings(url=triton.url)) as caller:
        answer = caller.post("/v1/detect", json={"image_url": f"http://{site}/picture"})
        is_problem(answer, 422, "invalid-url")
    with asking(Settings(url=triton.url, url_hosts=(site,))) as caller:
        answer = caller.post("/v1/detect", json={"image_url": f"http://{site}/picture"})
        assert "public" in is_problem(answer, 422, "invalid-url")
