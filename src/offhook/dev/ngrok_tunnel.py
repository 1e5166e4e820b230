"""A tunnel of ngrok's SDK, as a program: `python -m offhook.dev.ngrok_tunnel ORIGIN`.

It prints `tunnel https://…` once the tunnel is open, and keeps it open until it is ended. The SDK
reads NGROK_AUTHTOKEN, and connects again by itself after a loss.
"""

import sys
import threading
from importlib import import_module


def main(local: str) -> None:
    """Open the tunnel, and stay. Raises what ngrok raises."""
    ngrok = import_module("ngrok")  # of the extra [ngrok]
    listener = ngrok.forward(local, authtoken_from_env=True, verify_upstream_tls=False)
    print(f"tunnel {listener.url()}", flush=True)  # noqa: T201 - it is a program
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1])
