"""The authorities that certificates are checked against."""

import ssl
import sys
from pathlib import Path

import pytest
import trustme

from offhook.net import tls

pytestmark = pytest.mark.skipif(
    sys.platform in ("darwin", "win32"), reason="there the system judges each certificate"
)


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Shake hands in memory. Raises ssl.SSLError as the client does."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def a_server(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("voice.example").configure_cert(context)
    return context


def test_authorities_of_the_system_are_believed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, others = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = tls.verifying()
    shake_hands(context, a_server(ours), "voice.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(context, a_server(ours), "other.example")
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate"):
        shake_hands(context, a_server(others), "voice.example")


def test_authorities_are_read_once_and_not_for_each_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = tls.verifying()
    (tmp_path / "ca.pem").unlink()
    for _ in range(2):
        shake_hands(context, a_server(authority), "voice.example")
