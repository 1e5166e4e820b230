"""What certificates of others are checked against."""

import ssl

import certifi


def verifying() -> ssl.SSLContext:
    """Verifies certificates against the system's authorities and Mozilla's.

    The first may be a company's own, the second help where a Python has none configured.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
