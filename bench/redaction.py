"""What redaction costs for each text, with everything on. Run: python bench/redaction.py"""

import timeit

from offhook.config import RedactionSettings
from offhook.redaction.redactor import Redactor

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
