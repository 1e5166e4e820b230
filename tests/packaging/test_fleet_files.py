"""The files of deploy/ for several nodes: valid by the published schemas, and of one mind."""

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml
from bench.fleet_proxies import NODES
from compose_spec import PyCompose
from pydantic import SecretStr
from scripts.trim_contracts import CONTRACTS
from tests.packaging.test_deploy import DEPLOY, FLEET_PAGE, longest_stop_s
from tests.test_docs import committed

from offhook.config import load
from offhook.config.fleet_settings import NODE_NAME
from offhook.fleet.live_lines import GATHER_S
from offhook.fleet.places import BEAT_S, LEASE_S

FOLDER: Final = DEPLOY / "kubernetes"
NEWEST: Final = kubernetes_validate.latest_version()
VERSIONS: Final = ("1.30", NEWEST)
"""The oldest version of Kubernetes that the page promises, and the newest that is published."""


KEDA: Final = {"ScaledObject": "scaledobjects", "TriggerAuthentication": "triggerauthentications"}
"""KEDA's resources that are used here, with the names of their files of facts."""

SECRETS: Final = {
    "DEEPGRAM_API_KEY": "a-key",
    "TWILIO_AUTH_TOKEN": "0" * 32,
    "OFFHOOK_API_TOKEN": "a-token-of-the-operator",
    "OFFHOOK_DATABASE_URL": "postgresql://offhook:secret@postgres/offhook",
    "OFFHOOK_FLEET_KEY": "0" * 32,
}
"""What the page puts into the secret."""


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text("utf-8")):
            yield f"{path.stem}: {document['kind']} {document['metadata']['name']}", document


ALL: Final = dict(manifests())


@functools.cache
def one(kind: str, name: str = "offhook") -> Any:
    (found,) = [
        document
        for document in ALL.values()
        if (document["kind"], document["metadata"]["name"]) == (kind, name)
    ]
    return found


# --- schemas -------------------------------------------------------------------------------------


def complaints(document: dict[str, Any], version: str) -> str:
    """What the published schema of that version says against a manifest."""
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as wrong:
        return str(wrong.message)
    return ""


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(version: str) -> None:
    core = {name: each for name, each in ALL.items() if each["kind"] not in KEDA}
    assert len(core) >= 12
    assert {name: said for name in core if (said := complaints(core[name], version))} == {}


def test_the_schemas_refuse_what_is_wrong() -> None:
    wrong = json.loads(json.dumps(one("StatefulSet")))
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 1
    assert "terminationGracePeriod" in complaints(wrong, NEWEST)


def facts(name: str) -> Any:
    """What a vendor publishes, by the name of its file."""
    return json.loads((CONTRACTS / name).read_text("utf-8"))


def strict(schema: Any) -> Any:
    """A schema that refuses fields which it does not name, as `kubectl apply` does."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    return {**made, "additionalProperties": False} if "properties" in schema else made


@pytest.mark.parametrize("kind", KEDA)
def test_keda_takes_its_resources(kind: str) -> None:
    published = facts(f"keda.sh_{KEDA[kind]}.json")["spec"]
    (version,) = published["versions"]
    given = one_of_keda(kind)
    assert published["names"]["kind"] == kind
    assert given["apiVersion"] == f"{published['group']}/{version['name']}"
    schema = strict(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    jsonschema.validate(given["spec"], schema)
    mistakes: Any = ({"polling": 1}, {"triggers": [{}]}, {"secretTargetRef": [{"key": 1}]})
    for wrong in mistakes:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**given["spec"], **wrong}, schema)


def test_kedas_scaler_takes_its_trigger() -> None:
    (trigger,) = one_of_keda("ScaledObject")["spec"]["triggers"]
    (scaler,) = facts("keda-scalers-schema.json")["scalers"]
    assert trigger["type"] == scaler["type"]
    given, known = trigger["metadata"], {each["name"]: each for each in scaler["parameters"]}
    # KEDA generates no list of what it embeds: pkg/scalers/authentication/authentication_types.go
    assert given.pop("authMode") in ("apiKey", "basic", "tls", "bearer", "custom", "oauth")
    assert given.keys() <= known.keys()
    assert {name for name, each in known.items() if not {"optional", "default"} & each.keys()} <= (
        given.keys()
    )
    for name, value in given.items():
        assert isinstance(value, str), name
        assert value in known[name].get("allowedValue", [value]), name


def one_of_keda(kind: str) -> Any:
    (found,) = [document for document in ALL.values() if document["kind"] == kind]
    return json.loads(json.dumps(found))


def test_everything_is_in_one_namespace_and_every_file_is_on_the_page() -> None:
    for name, document in ALL.items():
        if document["kind"] != "Namespace":
            assert document["metadata"]["namespace"] == "offhook", name
    names = [path.name for path in committed() if path.parent == FOLDER]
    assert len(names) >= 9
    assert [name for name in names if f"](../deploy/kubernetes/{name})" not in FLEET_PAGE] == []


# --- what belongs together -----------------------------------------------------------------------


def pod() -> Any:
    return one("StatefulSet")["spec"]["template"]["spec"]


def container() -> Any:
    (found,) = pod()["containers"]
    return found


def configured(tmp_path: Path, **environ: str) -> Any:
    for name, text in one("ConfigMap")["data"].items():
        (tmp_path / name).write_text(text)
    given = {each["name"]: each.get("value", "offhook-0") for each in container()["env"]}
    given["OFFHOOK_NODE_ADDRESS"] = given["OFFHOOK_NODE_ADDRESS"].replace("$(POD_IP)", "10.1.2.3")
    return load(tmp_path / "offhook.yaml", SECRETS | given | environ)


def test_the_configuration_is_one_that_a_node_takes(tmp_path: Path) -> None:
    config = configured(tmp_path)
    assert not [str(remark) for remark in config.remarks if remark.level == "mistake"]
    fleet = config.fleet
    assert fleet is not None
    fleet.check(SECRETS["OFFHOOK_DATABASE_URL"])
    assert (fleet.node, fleet.address) == ("offhook-0", "http://10.1.2.3:5002")
    assert fleet.nodes == one("StatefulSet")["spec"]["replicas"] == 3
    assert fleet.keys == (SecretStr(SECRETS["OFFHOOK_FLEET_KEY"]),)


def test_the_ports_are_those_of_the_configuration(tmp_path: Path) -> None:
    config = configured(tmp_path)
    ports = {each["name"]: each["containerPort"] for each in container()["ports"]}
    assert ports == {
        "twilio": config.server.port,
        "operator": config.server.operator_address[1],
        "nodes": config.fleet.listen_address[1],
    }
    for name in ("offhook", "offhook-nodes", "offhook-operator"):
        for port in one("Service", name)["spec"]["ports"]:
            assert port["targetPort"] in ports
    named = re.findall(
        r"http://([\w.-]+):(\d+)",
        one_of_keda("ScaledObject")["spec"]["triggers"][0]["metadata"]["url"],
    )
    assert named == [("offhook-operator.offhook.svc", str(ports["operator"]))]
    assert named[0][0] in config.server.operator_hosts


def test_nothing_kills_a_pod_before_its_longest_call_has_ended(tmp_path: Path) -> None:
    grace_s = configured(tmp_path).server.grace_seconds
    _, pause = container()["lifecycle"]["preStop"]["exec"]["command"]
    whole_s = pod()["terminationGracePeriodSeconds"]
    assert grace_s >= 30 * 60
    assert whole_s > longest_stop_s() + int(pause) + (grace_s - 30 * 60)
    proxy = one("Deployment", "offhook-haproxy")["spec"]["template"]["spec"]
    (minutes,) = re.findall(
        r"hard-stop-after (\d+)m", one("ConfigMap", "offhook-haproxy")["data"]["haproxy.cfg"]
    )
    assert proxy["terminationGracePeriodSeconds"] >= int(minutes) * 60 + int(pause)
    assert int(minutes) * 60 >= whole_s, "streams of a node that drains go through it"


def test_probes_ask_what_does_not_depend_on_the_load() -> None:
    probes = [container()[f"{name}Probe"] for name in ("startup", "readiness", "liveness")]
    for probe in probes:
        assert probe["httpGet"] == {"path": "/healthz", "port": "twilio"}, "by the pod's address"
    assert probes[2]["terminationGracePeriodSeconds"] < 60, "what hangs does not drain"


def test_a_pod_has_few_rights_and_a_disk_of_its_name() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["securityContext"]["runAsUser"] == 10001, "the user of the Dockerfile"
    assert "--uid 10001 " in (DEPLOY / "Dockerfile").read_text()
    (claim,) = one("StatefulSet")["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container()["volumeMounts"]}
    assert mounts[claim["metadata"]["name"]] == "/var/lib/offhook"
    assert one("StatefulSet")["spec"]["serviceName"] == "offhook-nodes"


def test_selectors_find_the_pods() -> None:
    labels = {
        name: one(kind, name)["spec"]["template"]["metadata"]["labels"]
        for kind, name in (("StatefulSet", "offhook"), ("Deployment", "offhook-haproxy"))
    }
    for name, document in ALL.items():
        selector = document.get("spec", {}).get("selector") if "spec" in document else None
        if selector is not None:
            wanted = selector.get("matchLabels", selector)
            assert wanted in labels.values(), name


def test_an_autoscaler_has_the_bounds_of_the_load_balancer() -> None:
    servers = set(re.findall(r"server (offhook-\d+) ", haproxy_of_the_cluster()))
    hpa, keda = one("HorizontalPodAutoscaler")["spec"], one_of_keda("ScaledObject")["spec"]
    assert hpa["maxReplicas"] == keda["maxReplicaCount"] == len(servers)
    assert hpa["minReplicas"] == keda["minReplicaCount"] == one("StatefulSet")["spec"]["replicas"]
    assert hpa["behavior"] == keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert "fallback" not in keda, "what cannot be counted changes nothing"
    (rule,) = re.findall(r"metricsQuery: (.*)", (FOLDER / "hpa.yaml").read_text())
    load, is_whole = rule.replace("{<<.LabelMatchers>>}", "").split(" and ")
    assert load == "sum(offhook_calls_live) / sum(offhook_calls_capacity)"
    assert is_whole == "count(offhook_calls_capacity) >= max(offhook_fleet_nodes)"
    assert all(re.fullmatch(NODE_NAME, server) for server in servers)


# --- HAProxy in the cluster ----------------------------------------------------------------------


def haproxy_of_the_cluster() -> str:
    text: str = one("ConfigMap", "offhook-haproxy")["data"]["haproxy.cfg"]
    return text


def rules(text: str) -> set[str]:
    lines = (line.strip() for line in text.splitlines())
    return {line for line in lines if line and not line.startswith(("#", "bind", "server "))}


def test_each_server_has_tcps_user_timeout() -> None:
    """HAProxy 2.6 takes it from `default-server` without a word, and does not heed it."""
    for text in (haproxy_of_the_cluster(), (DEPLOY / "haproxy-fleet.cfg").read_text()):
        servers = re.findall(r"^ +server .*$", text, re.MULTILINE)
        assert len(servers) >= 6
        assert [line for line in servers if not line.endswith(" tcp-ut 5s")] == []


def test_haproxy_has_the_rules_that_are_tried(tmp_path: Path) -> None:
    cluster = haproxy_of_the_cluster()
    looked_up = " init-addr none resolvers cluster resolve-prefer ipv4"
    assert rules((DEPLOY / "haproxy-fleet.cfg").read_text()) <= rules(
        cluster.replace(looked_up, "")
    )
    names = re.findall(r"^    server (\S+) (\S+) tcp-ut 5s$", cluster, re.MULTILINE)
    assert len(names) >= 2 * 6
    for name, address in names:
        assert address == f"{name}.offhook-nodes.offhook.svc.cluster.local:5000"
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    (tmp_path / "tls.crt").write_bytes(b"")
    path = tmp_path / "haproxy.cfg"
    path.write_text(cluster.replace(" ssl crt /etc/haproxy/tls/tls.crt alpn http/1.1", ""))
    command = ["haproxy", "-c", "-f", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- Compose -------------------------------------------------------------------------------------

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose-fleet.yaml").read_text())


@pytest.mark.parametrize("name", ["compose.yaml", "compose-fleet.yaml"])
def test_the_files_of_compose_are_as_its_specification_says(name: str) -> None:
    document = yaml.safe_load((DEPLOY / name).read_text())
    PyCompose.from_yaml(json.dumps(document))
    document["services"]["offhook"] = {"image": "offhook", "stop_grace_perio": "35m"}
    with pytest.raises(ValueError, match="stop_grace_perio"):
        PyCompose.from_yaml(json.dumps(document))
    for service in yaml.safe_load((DEPLOY / name).read_text())["services"].values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert source.startswith("./") or (source in document["volumes"] and len(source) > 1), (
                "Compose reads one letter as a drive of Windows"
            )


def test_the_page_counts_messages_as_often_as_they_are_sent() -> None:
    assert f"a sign of life (*beat*) of each node every {BEAT_S:g} s" in FLEET_PAGE
    assert f"in one message every {GATHER_S:g} s at most" in FLEET_PAGE
    assert f"one lease ({LEASE_S:g} s)" in (FOLDER / "statefulset.yaml").read_text()
    assert one("StatefulSet")["spec"]["minReadySeconds"] > LEASE_S


def test_each_node_of_compose_has_a_name_an_address_and_a_disk_of_its_own() -> None:
    nodes = {name: COMPOSE["services"][name] for name in NODES}
    for name, node in nodes.items():
        address = NODES[name].partition(":")[0]
        assert node["networks"]["fleet"]["ipv4_address"] == address, "as in haproxy-fleet.cfg"
        environ = node["environment"]
        assert (environ["OFFHOOK_NODE"], environ["OFFHOOK_NODE_ADDRESS"]) == (
            name,
            f"http://{address}:5002",
        )
        assert node["stop_grace_period"] == COMPOSE["services"]["haproxy"]["stop_grace_period"]
    disks = [volume for node in nodes.values() for volume in node["volumes"] if volume[0] != "."]
    assert len({*disks}) == len(nodes)
