"""The socket and the certificates by which other nodes reach a process."""

from pathlib import Path

import pytest
import trustme

from offhook.config.fleet_settings import FleetSettings, NodeTlsSettings
from offhook.errors import UserError
from offhook.serving.listen import listen
from offhook.serving.node_links import node_socket, node_tls


def test_a_taken_port_is_left_to_the_process_that_has_it() -> None:
    first = listen("127.0.0.1", 0)
    port = first.getsockname()[1]
    settings = FleetSettings(node="a", listen=f"127.0.0.1:{port}", address="http://10.0.0.1:5002")
    second = node_socket(settings)
    try:
        other = second.getsockname()[1]
        assert other != port
        assert settings.address_at(other) == f"http://10.0.0.1:{other}"
    finally:
        first.close()
        second.close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(UserError) as refused:
        node_socket(FleetSettings(node="a", listen="192.0.2.1:0"))
    assert refused.value.code == "E-NET-02"


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    assert node_tls(FleetSettings(node="a")) is None
    authority = trustme.CA()
    issued, other = authority.issue_cert("a.example"), authority.issue_cert("b.example")
    files = {name: tmp_path / f"{name}.pem" for name in ("cert", "key", "ca")}
    issued.cert_chain_pems[0].write_to_path(files["cert"])
    issued.private_key_pem.write_to_path(files["key"])
    authority.cert_pem.write_to_path(files["ca"])
    settings = FleetSettings(node="a", tls=NodeTlsSettings(**files), address="https://a.example:1")
    assert node_tls(settings) is not None
    for name, content in (
        ("key", other.private_key_pem.bytes()),
        ("ca", b"nothing"),
        ("cert", b""),
    ):
        before = files[name].read_bytes()
        files[name].write_bytes(content)
        with pytest.raises(UserError) as refused:
            node_tls(settings)
        assert refused.value.code == "E-FLEET-07", name
        files[name].write_bytes(before)
