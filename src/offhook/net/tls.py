"""The authorities that certificates of other hosts are checked against: the system's own."""

import asyncio
import ssl
import sys

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
