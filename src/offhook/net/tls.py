"""The authorities that certificates of other hosts are checked against."""

import ssl

import certifi


def verifying() -> ssl.SSLContext:
    """Return a context that verifies certificates by the system's authorities and Mozilla's.

    The first may be a company's own, the second help where a Python has none configured.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
