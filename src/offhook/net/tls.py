"""The authorities that certificates of other hosts are checked against: the system's own."""

import asyncio
import ssl
import sys
from pathlib import Path
from typing import NamedTuple

import truststore


def verifying() -> ssl.SSLContext:
    """Return a context that verifies certificates as this system does.

    On macOS and Windows the system itself judges each certificate. Elsewhere the authorities are
    those of SSL_CERT_FILE and SSL_CERT_DIR, of OpenSSL, or of a file where distributions keep them.
    """
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if sys.platform in ("darwin", "win32"):
        return context
    # truststore reads the authorities anew for each connection, which would stop the audio of all
    # calls for as long. The context beneath has them once a connection was prepared.
    return context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost").context


def loading() -> "asyncio.Future[ssl.SSLContext]":
    """Return the context of `verifying`, to be awaited: a thread loads it.

    OpenSSL reads the authorities without the interpreter, so a server starts meanwhile.
    """
    return asyncio.get_running_loop().run_in_executor(None, verifying)


class MutualTls(NamedTuple):
    """Contexts of both ends of a connection at which each must show a certificate."""

    server: ssl.SSLContext
    client: ssl.SSLContext


def mutual(cert: Path, key: Path, authority: Path) -> MutualTls:
    """Return contexts of a certificate that trust what one authority has signed, and nothing else.

    The client also checks the host's name. Raises OSError for files that cannot be used.
    """
    contexts = MutualTls(
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    for context in contexts:
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # both ends are Offhook
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority)
        context.load_cert_chain(cert, key)
    return contexts
