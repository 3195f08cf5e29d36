"""TLS by flag, renewed connections, and refused options."""

import shutil
import subprocess
import time
import urllib.request

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from fovea_client import Client, RetryPolicy, Tls
from fovea_server import EmbeddedServer, ServerOptions
from tritonclient.grpc import service_pb2, service_pb2_grpc

from . import graphs
from .requests import tensor
from .test_command import build

X = np.ones((1, 4), np.float32)
ONCE = RetryPolicy(attempts=1)
KEY = "openssl req -x509 -nodes -newkey rsa:2048 -days 2"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A certificate authority, with certificates for the server and for one client."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("certificates")
    authority = ["-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key")]
    for name, more in (
        ("ca", []),
        ("server", [*authority, "-addext", "subjectAltName=IP:127.0.0.1"]),
        ("client", authority),
        ("stranger", []),
    ):
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        command = [*KEY.split(), "-subj", f"/CN=fovea {name}", *files, *more]
        subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repository")
    graphs.add_linear(folder, "linear")
    return folder


def encryption(folder, *, mutual):
    files = {"tls_certificate": folder / "server.pem", "tls_key": folder / "server.key"}
    return {**files, "tls_client_ca": folder / "ca.pem"} if mutual else files


def identity(folder, name):
    return Tls(folder / "ca.pem", folder / f"{name}.key", folder / f"{name}.pem")


def is_ready(server, tls):
    with Client(server.grpc_url, tls=tls, retry=ONCE) as client:
        return client.is_ready(timeout_s=10)


@pytest.mark.server
def test_with_tls_only_clients_that_trust_the_authority_get_an_answer(
    repository, options, certificates
):
    with EmbeddedServer(options(repository, **encryption(certificates, mutual=False))) as server:
        assert is_ready(server, Tls(certificates / "ca.pem"))
        assert not is_ready(server, None)
        assert not is_ready(server, Tls(certificates / "stranger.pem"))
        trusting = {"ssl": True, "root_certificates": str(certificates / "ca.pem")}
        with triton.InferenceServerClient(server.grpc_url, **trusting) as client:
            answer = client.infer("linear", [tensor("x", X)])
        assert answer.as_numpy("z").tolist() == [[-1.0] * 4]
        assert urllib.request.urlopen(f"http://{server.http_url}/v2/health/ready").status == 200


@pytest.mark.server
def test_with_mutual_tls_only_known_clients_get_in(repository, options, certificates):
    with EmbeddedServer(options(repository, **encryption(certificates, mutual=True))) as server:
        assert is_ready(server, identity(certificates, "client"))
        assert not is_ready(server, Tls(certificates / "ca.pem"))
        assert not is_ready(server, identity(certificates, "stranger"))


def test_with_tls_the_plain_http_stays_on_loopback(certificates):
    files = encryption(certificates, mutual=True)
    options = ServerOptions(model_repository="models", host="0.0.0.0", **files)
    command = build(options)
    assert "--grpc-address=0.0.0.0" in command
    assert "--http-address=127.0.0.1" in command
    assert "--grpc-use-ssl-mutual=true" in command


def test_half_of_a_tls_setting_is_refused(tmp_path):
    with pytest.raises(ValueError, match="both tls_certificate and tls_key"):
        ServerOptions(model_repository=tmp_path, tls_certificate=tmp_path / "server.pem")
    with pytest.raises(ValueError, match="tls_client_ca takes tls_certificate"):
        ServerOptions(model_repository=tmp_path, tls_client_ca=tmp_path / "ca.pem")


def infer_until(stub, condition, *, within_s):
    """How many requests were answered until the condition held; none may fail."""
    request = service_pb2.ModelInferRequest(model_name="linear")
    request.inputs.add(name="x", datatype="FP32", shape=X.shape)
    request.raw_input_contents.append(X.tobytes())
    answered, began = 0, time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, "too late"
        stub.ModelInfer(request, timeout=10)
        answered += 1
        time.sleep(0.01)
    return answered


def successes(server):
    text = urllib.request.urlopen(server.metrics_url).read().decode()
    lines = [line for line in text.splitlines() if line.startswith("nv_inference_request_success{")]
    return sum(float(line.split()[-1]) for line in lines)


@pytest.mark.server
def test_round_robin_spreads_one_channel_over_servers_and_renewal_finds_a_late_one(
    repository, options
):
    # A name with several addresses, like a headless Service; here the list itself.
    settings = {"max_connection_age_s": 1, "max_connection_grace_s": 10}
    with EmbeddedServer(options(repository, **settings)) as first:
        port = first.ports.grpc
        target = f"ipv4:127.0.0.1:{port},127.0.0.2:{port}"
        with grpc.insecure_channel(target, [("grpc.lb_policy_name", "round_robin")]) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            infer_until(stub, lambda: successes(first) >= 5, within_s=20)
            late = options(repository, host="127.0.0.2", **{**settings, "grpc_port": port})
            with EmbeddedServer(late) as second:
                infer_until(stub, lambda: successes(second) >= 20, within_s=30)
                before = successes(first), successes(second)
                infer_until(stub, lambda: successes(second) - before[1] >= 20, within_s=20)
                assert successes(first) - before[0] >= 10
