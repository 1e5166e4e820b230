"""Page of a demo call, to which the demo's link leads: the call to listen to."""

import html
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from string import Template
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from offhook.recordings import reading
from offhook.recordings.files import LocalFiles
from offhook.testing.simulator.twilio.account.server import on_loopback

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Offhook: the demo call</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 3rem auto; padding: 0 1rem }
audio { width: 100% }
pre { white-space: pre-wrap; background: #8882; padding: 1rem; border-radius: .5rem }
:root { color-scheme: light dark }
</style>
<h1>The demo call</h1>
<p>Caller left, agent right. The same sound is in <code>$path</code>.</p>
<audio controls src="call.wav"></audio>
<h2>Your own number</h2>
<p>The agent is still there: Twilio's webhook is <code>POST http://127.0.0.1:$port/twilio/voice</code>,
which Twilio reaches through a tunnel. What to set at the number is printed by</p>
<pre>offhook twiml --public-url https://YOUR-HOST</pre>
""")


def serve(path: Path, port: int) -> AbstractAsyncContextManager[str]:
    """Serve the page on a free loopback port; yield its origin.

    `path` is the call's recording, and `port` takes Twilio's calls.
    """
    return on_loopback(_app(path, port), "page of the demo call")


def _app(path: Path, port: int) -> Starlette:
    async def page(request: Request) -> Response:
        return HTMLResponse(
            _PAGE.substitute(path=html.escape(str(path)), port=port),
            headers={"Content-Security-Policy": "default-src 'self'; style-src 'unsafe-inline'"},
        )

    def sound(request: Request) -> Response:  # not async, so it runs in a thread
        pcm = b"".join(reading.pcm16(LocalFiles(path.parent), path.name))
        return Response(pcm, media_type="audio/wav")

    return Starlette(
        routes=[Route("/", page), Route("/call.wav", sound)],
        # Any web page could ask for them by another name of this machine.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )
