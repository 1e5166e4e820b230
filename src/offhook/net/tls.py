"""The authorities that certificates of other hosts are checked against."""

import asyncio
import ssl

import certifi


def verifying() -> ssl.SSLContext:
    """Return a context that verifies certificates by the system's authorities and Mozilla's.

    The first may be a company's own, the second help where a Python has none configured.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def loading() -> "asyncio.Future[ssl.SSLContext]":
    """Return the context of `verifying`, to be awaited: a thread loads it in some 0.05 s.

    OpenSSL reads the authorities without the interpreter, so a server starts meanwhile.
    """
    return asyncio.get_running_loop().run_in_executor(None, verifying)
