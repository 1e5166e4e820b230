"""What redaction costs for each text, with everything on. Run: python bench/redaction.py

At the end the costliest text that one pattern allows: how long it takes, and how late the event
loop is meanwhile, when the loop redacts itself and when the thread does, as in a server.
"""

import asyncio
import contextlib
import random
import sys
import timeit

from offhook.config import RedactionSettings
from offhook.events.types import CallerSaid, CallEvent
from offhook.redaction.redactor import TEXT_MAX, Redactor
from offhook.redaction.thread import RedactionThread
from offhook.serving.server import SWITCH_S

TEXTS = {
    "a short answer": "Yes, please.",
    "a sentence": "I'd like a table for four people on Friday at half past seven, please.",
    "a sentence with digits": "It is $12.50 for order 4711, on 2026-03-06 at 19:30, for 4.",
    "a card and a phone": "My card is 4111 1111 1111 1111, my number is +1 (202) 555-0142, thanks.",
    "a card in words": "It's four one one one, one one one one, one one one one, one one one one.",
    "an address, said": "Write to ada dot lovelace at mail dot example dot com, please.",
    "a long answer": "We are open from Monday to Friday, from nine in the morning until six. " * 8,
}
JSON = '{"name": "Ada", "people": 4, "at": "2026-03-06T19:30:00", "phone": "+12025550142"}'
ROUNDS = 50
COSTLY = RedactionSettings.model_validate({"patterns": ["a[ab]{350}x"]})
COSTLY_TEXT = "".join(random.Random(1).choices("ab", k=TEXT_MAX))
LOOK_S = 0.001

redactor = Redactor(
    RedactionSettings.model_validate(
        {"cards": True, "phone_numbers": True, "emails": True, "patterns": [r"\bCASE-\d+\b"]}
    )
)
work = [(name, redactor.text, text) for name, text in TEXTS.items()]
for name, function, text in [*work, ("a function's arguments", redactor.json, JSON)]:
    times = timeit.repeat(lambda: function(text), number=ROUNDS, repeat=50)  # noqa: B023
    best = min(times) / ROUNDS
    print(f"{best * 1e6:7.1f} µs  {len(text):4} characters  {name}")


async def late_ms(*, by_thread: bool) -> tuple[float, float]:
    """Return how late the loop is at worst while a text is redacted, and after how long it is."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    redaction = RedactionThread(COSTLY, lambda _: told.set(), loop.time, loop)
    worst = 0.0
    with redaction if by_thread else contextlib.nullcontext():
        began = loop.time()
        loop.call_soon(redaction, CallEvent("CA1", 0, CallerSaid(COSTLY_TEXT, None)))
        while not told.is_set():
            due = loop.time() + LOOK_S
            await asyncio.sleep(LOOK_S)
            worst = max(worst, loop.time() - due)
        took = loop.time() - began
    return worst * 1e3, took * 1e3


sys.setswitchinterval(SWITCH_S)
for by_thread in (False, True):
    found = sorted(asyncio.run(late_ms(by_thread=by_thread)) for _ in range(20))
    late, took = found[len(found) // 2]
    who = "the thread" if by_thread else "the loop itself"
    print(
        f"{late:7.1f} ms late is the event loop (at worst {found[-1][0]:.1f}), {took:.0f} ms: {who}"
    )
