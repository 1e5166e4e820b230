"""`fleet:` in offhook.yaml: every mistake has its place and its fix."""

from pathlib import Path

import pytest

from offhook.config import load_app
from offhook.config.app_reading import AppConfig
from offhook.config.fleet_settings import FleetSettings, host_label
from offhook.errors import UserError

KEY = "k" * 32
DATABASE = "postgresql://u@h/x"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(fleet: str, **environ: str) -> AppConfig:
    Path("offhook.yaml").write_text(f"fleet: {fleet}\n")
    given = {"OFFHOOK_FLEET_KEY": KEY, "OFFHOOK_DATABASE_URL": DATABASE, "OFFHOOK_NODE": "a"}
    return load_app(None, {**given, **environ})


def of(fleet: str, **environ: str) -> FleetSettings:
    found = loaded(fleet, **environ).require_fleet()
    assert found is not None
    return found


def test_without_the_heading_there_is_no_fleet() -> None:
    config = load_app(None, {"OFFHOOK_FLEET_KEY": "short", "OFFHOOK_NODE": "a"})
    assert config.require_fleet() is None
    assert loaded("").require_fleet() is None, "as when every line is commented out"


@pytest.mark.parametrize(
    ("fleet", "said"),
    [
        ("{node: A}", "no name for a node"),
        ("{node: -a}", "no name for a node"),
        ("{node: ''}", "no name for a node"),
        (f"{{node: {'a' * 64}}}", "no name for a node"),
        ("{listen: '5002'}", "not HOST:PORT"),
        ("{listen: 'h:65536'}", "not HOST:PORT"),
        ("{listen: '::1:80'}", "not HOST:PORT"),
        ("{address: 10.0.0.1}", "not the origin of a web server"),
        ("{address: 'http://u@h:1'}", "not the origin of a web server"),
        ("{address: 'http://h:0'}", "not the origin of a web server"),
        ("{address: 'http://h/path'}", "not the origin of a web server"),
        ("{address: 'http://[::1'}", "not the origin of a web server"),
        ("{address: 'https://h:1'}", "do not fit"),
        ("{address: 'http://h:1', tls: {cert: a, key: b, ca: c}}", "do not fit"),
        ("{nodes: 0}", "greater than or equal to 1"),
        ("{tls: {cert: a, key: b}}", '"ca" is missing'),
        ("{noed: a}", 'Did you mean "node"'),
        ("{key: CANARY}", "OFFHOOK_FLEET_KEY"),
        ("[a, b]", "must be a mapping"),
    ],
)
def test_a_mistake_is_told_with_its_line(fleet: str, said: str) -> None:
    with pytest.raises(UserError, match=r"offhook\.yaml:1:") as told:
        loaded(fleet)
    assert said in str(told.value)
    assert "CANARY" not in str(told.value)


@pytest.mark.parametrize(
    ("environ", "code"),
    [
        ({"OFFHOOK_DATABASE_URL": "sqlite:///x"}, "E-FLEET-01"),
        ({"OFFHOOK_DATABASE_URL": ""}, "E-FLEET-01"),
        ({"OFFHOOK_FLEET_KEY": ""}, "E-FLEET-02"),
        ({"OFFHOOK_FLEET_KEY": "CANARY" * 5}, "E-FLEET-02"),
        ({"OFFHOOK_FLEET_KEY": f"{KEY},CANARY"}, "E-FLEET-02"),
        ({}, "E-FLEET-03"),
    ],
)
def test_what_nodes_cannot_work_with_is_refused_at_the_start(
    environ: dict[str, str], code: str
) -> None:
    config = loaded("{}", **environ)  # other commands need none of it
    with pytest.raises(UserError) as told:
        config.require_fleet()
    assert told.value.code == code
    assert "CANARY" not in str(told.value)


def test_a_host_whose_name_is_none_needs_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Node_1.example.com")
    assert host_label() == ""
    with pytest.raises(UserError) as told:
        of("{listen: '10.0.0.1:5002'}", OFFHOOK_NODE="")
    assert told.value.code == "E-FLEET-04"
    monkeypatch.setattr("socket.gethostname", lambda: "Node-1.example.com")
    assert of("{listen: '10.0.0.1:5002'}", OFFHOOK_NODE="").node == "node-1"


def test_the_environment_names_a_node_that_the_file_does_not() -> None:
    found = of("{node: z}", OFFHOOK_NODE="b", OFFHOOK_NODE_ADDRESS="http://10.0.0.2:5002")
    assert (found.node, found.address) == ("b", "http://10.0.0.2:5002")
    with pytest.raises(UserError, match="OFFHOOK_NODE: This is no name for a node"):
        loaded("{}", OFFHOOK_NODE="CANARY")


@pytest.mark.parametrize(
    ("fleet", "port", "address"),
    [
        ("{listen: '10.0.0.1:5002'}", 5002, "http://10.0.0.1:5002"),
        ("{listen: '[::1]:0'}", 6001, "http://[::1]:6001"),
        ("{address: 'http://10.0.0.9:7000'}", 5002, "http://10.0.0.9:7000"),
        ("{address: 'http://10.0.0.9:7000'}", 6001, "http://10.0.0.9:6001"),
        ("{address: 'http://[fd00::1]:5002/'}", 6001, "http://[fd00::1]:6001"),
    ],
)
def test_the_address_is_that_of_the_port_which_is_listened_on(
    fleet: str, port: int, address: str
) -> None:
    assert of(fleet).address_at(port) == address


def test_paths_of_certificates_start_at_the_file() -> None:
    files = of("{address: 'https://h:1', tls: {cert: a.pem, key: /b.pem, ca: c.pem}}").tls
    assert files is not None
    assert [str(path) for path in (files.cert, files.key, files.ca)] == ["a.pem", "/b.pem", "c.pem"]
