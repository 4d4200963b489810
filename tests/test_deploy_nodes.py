"""The manifests for several nodes: they are what their tools take, their options are ours, and their times fit."""

from __future__ import annotations

import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from test_deploy import tool
from test_monitor import Watched
from test_service import DEADLINE, parsed

from ftpsvc import configuration
from ftpsvc.options import Options

DEPLOY = Path(__file__).parents[1] / "deploy"
BALANCER = (DEPLOY / "haproxy.cfg").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose-nodes.yaml").read_text())
NODES = ("one", "two")
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))

#: The version of Kubernetes whose schema they are held to.
KUBERNETES = "1.34"


def an(kind: str, name: str = "ftpsvc") -> dict[str, Any]:
    (found,) = [one for one in OBJECTS if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pod(name: str = "ftpsvc") -> dict[str, Any]:
    found: dict[str, Any] = an("Deployment", name)["spec"]["template"]["spec"]
    return found


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    return found


def seconds_to_end(options: Options) -> float:
    return float(options["drain-notice"] + options["drain-time"] + options["closing-time"])


# -- HAProxy


def test_haproxy_takes_its_configuration_without_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "haproxy.cfg"
    file.write_text(re.sub(r"\b(one|two):5000", "127.0.0.1:5000", BALANCER))  # nobody has these names here
    command = [tool("haproxy"), "-c", "-f", str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    said = checked.stdout + checked.stderr
    assert checked.returncode == 0 and "WARNING" not in said, said


def test_haproxy_notices_a_node_that_stops_before_that_lets_nobody_in() -> None:
    every, then, fall = (re.search(rf"\b{word} ([0-9]+)(m?s|)\b", BALANCER) for word in ("inter", "fastinter", "fall"))
    assert every and then and fall
    seconds = [int(match[1]) / (1000 if match[2] == "ms" else 1) for match in (every, then)]
    noticed = seconds[0] + (int(fall[1]) - 1) * seconds[1]
    (said,) = re.findall(r"--drain-notice ([0-9]+)", BALANCER)
    assert noticed < float(said) / 2
    assert f"within {noticed:g} seconds" in BALANCER


# -- Docker


@pytest.mark.parametrize("file", ["compose.yaml", "compose-nodes.yaml"])
def test_compose_takes_its_files(file: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / file)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert checked.returncode == 0, checked.stdout


def composed(folder: Path) -> Options:
    """The options of both nodes, with what `ftpsvc init` makes in its place."""
    one, two = (COMPOSE["services"][name] for name in NODES)
    assert one == two
    (folder / "config.toml").write_text(configuration.template(Options().settings(), {"accounts": "accounts.toml"}))
    return parsed(*(word.replace("/data", str(folder)) for word in one["command"]))


def test_the_nodes_of_compose_are_what_haproxy_expects(tmp_path: Path) -> None:
    options = composed(tmp_path)
    (port,) = options["ports"]
    assert port.startswith("haproxy:tcp:") and "send-proxy-v2" in BALANCER
    monitor = options["monitor"].removeprefix("tcp:")
    expected = {(name, f"{name}:{port.rpartition(':')[2]}", monitor) for name in NODES}
    assert set(re.findall(r"^    server (\S+) (\S+) port (\S+)$", BALANCER, re.MULTILINE)) == expected
    assert f"--port {port} --monitor {options['monitor']} --drain-notice {options['drain-notice']:g}" in BALANCER
    assert "ports" not in COMPOSE["services"]["one"], "only the balancer is reached from outside"


def test_only_the_balancer_publishes_a_port_which_is_its_own() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    (bound,) = re.findall(r"^    bind :([0-9]+)$", BALANCER, re.MULTILINE)
    assert published == {"haproxy": [f"{bound}:{bound}"]}


def test_the_nodes_of_compose_have_time_to_end_and_share_their_certificate_and_accounts(tmp_path: Path) -> None:
    options = composed(tmp_path)
    node = COMPOSE["services"]["one"]
    assert int(node["stop_grace_period"].removesuffix("s")) > seconds_to_end(options)
    for name in ("accounts", "certificate", "key"):
        assert options[name].startswith(f"{tmp_path}/"), "in the volume that both have"
    assert "settings:/data:ro" in node["volumes"]
    assert [place.partition(":")[0] for place in node["tmpfs"]] == [options["state"]]
    assert "--shared=redis://redis:6379/0" in node["command"] and "redis" in COMPOSE["services"]


@pytest.mark.parametrize(("status", "is_healthy"), [(200, True), (503, False)])
def test_a_nodes_health_in_compose_is_that_of_readyz(status: int, is_healthy: bool) -> None:
    asked = []

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        kind, program, *words = COMPOSE["services"]["one"]["healthcheck"]["test"]
        assert (kind, program) == ("CMD", "python")
        words = [word.replace("9090", str(server.server_port)) for word in words]
        ended = subprocess.run([sys.executable, *words], stderr=subprocess.DEVNULL, timeout=DEADLINE)
        thread.join()
    assert (ended.returncode == 0, asked) == (is_healthy, ["/readyz"])


# -- Kubernetes


@pytest.mark.parametrize("one", OBJECTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}")
def test_kubernetes_takes_each_object(one: dict[str, Any]) -> None:
    kubernetes_validate.validate(one, KUBERNETES, strict=True)


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Options]:
    """The options of a pod."""
    file = tmp_path / "config.toml"
    file.write_text(an("ConfigMap")["data"]["config.toml"])
    (_, where) = container()["args"]
    assert where == f"{mounts()['config']}/{file.name}"
    yield parsed("--config", str(file))


def mounts() -> dict[str, str]:
    return {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}


def test_a_pods_ports_are_those_that_it_listens_on(pods: Options) -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert pods["ports"] == [f"tcp:{ports['ftp']}"]
    assert pods["monitor"] == f"tcp:{ports['monitor']}", "on all addresses: it is not the pod that asks"
    (port,) = an("Service")["spec"]["ports"]
    assert ports[port["targetPort"]] == port["port"]
    annotations = an("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(ports["monitor"])


def test_the_probes_ask_for_what_there_is(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    watched.trouble = "the server is stopping"
    expected = {"readinessProbe": 503, "livenessProbe": 200, "startupProbe": 200}
    for name, status in expected.items():
        asked = container()[name]["httpGet"]
        assert asked["port"] == "monitor"
        assert watched.ask(asked["path"]).status == status, name


def test_a_pod_is_left_out_before_it_lets_nobody_in_and_has_time_to_end(pods: Options) -> None:
    probe = container()["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < pods["drain-notice"]
    assert pod()["terminationGracePeriodSeconds"] > seconds_to_end(pods)


def test_what_a_pod_reads_is_mounted_and_what_it_writes_is_a_volume(pods: Options) -> None:
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert volumes.keys() == mounts().keys()
    for name in ("accounts", "certificate", "key"):
        assert any("secret" in volumes[at] for at, path in mounts().items() if pods[name].startswith(f"{path}/")), name
    assert "emptyDir" in volumes["state"] and mounts()["state"] == pods["state"]
    read_only = {mount["name"] for mount in container()["volumeMounts"] if mount.get("readOnly")}
    assert volumes.keys() - read_only == {"state"}


def test_the_secrets_are_those_that_the_first_lines_make() -> None:
    made = set(re.findall(r"kubectl create secret \w+ (\S+)", (DEPLOY / "kubernetes.yaml").read_text()))
    wanted = {volume["secret"]["secretName"] for volume in pod()["volumes"] if "secret" in volume}
    assert made == wanted | {source["secretRef"]["name"] for source in container()["envFrom"]}


@pytest.mark.parametrize("name", ["ftpsvc", "ftpsvc-redis"])
def test_services_and_policies_mean_their_pods(name: str) -> None:
    labels = an("Deployment", name)["spec"]["template"]["metadata"]["labels"]
    assert an("Deployment", name)["spec"]["selector"]["matchLabels"] == labels
    assert an("Service", name)["spec"]["selector"] == labels
    assert an("NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"] == labels
    named = {port["name"] for one in pod(name)["containers"] for port in one["ports"]}
    policy = an("NetworkPolicy", name)["spec"]["ingress"]
    assert {port["port"] for rule in policy for port in rule["ports"]} == named


def test_one_node_stays_while_machines_are_emptied() -> None:
    budget, nodes = an("PodDisruptionBudget")["spec"], an("Deployment")["spec"]
    assert budget["selector"] == nodes["selector"]
    assert nodes["replicas"] > budget["maxUnavailable"] == 1
    assert nodes["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_clients_addresses_reach_the_pods() -> None:
    spec = an("Service")["spec"]
    assert (spec["type"], spec["externalTrafficPolicy"]) == ("LoadBalancer", "Local")


def test_the_pods_ask_the_redis_that_there_is() -> None:
    (port,) = an("Service", "ftpsvc-redis")["spec"]["ports"]
    assert f'shared = "redis://ftpsvc-redis:{port["port"]}/0"' in an("ConfigMap")["data"]["config.toml"]
