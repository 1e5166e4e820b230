"""Write src/offhook/outbound/zones.txt: which time zones a phone number may be in, by its prefix.

The data are libphonenumber's, of the development dependency phonenumbers (Apache-2.0). Offhook runs
on phonenumberslite, which leaves them out. Run it after `make lock`; a test holds file and data
together.
"""

from collections import defaultdict
from pathlib import Path

from phonenumbers.tzdata import TIMEZONE_DATA

PATH = Path(__file__).parent.parent / "src/offhook/outbound/zones.txt"

HEAD = """\
# Time zones of phone numbers by prefix, from libphonenumber (Apache-2.0). Made by
# scripts/write_zones.py. First the zones, one a line; then, after an empty line, for each set of
# zones their places in that list, a colon, and the prefixes that have that set.
"""


def table() -> str:
    """The file's text."""
    names = sorted({name for zones in TIMEZONE_DATA.values() for name in zones})
    places = {name: place for place, name in enumerate(names)}
    prefixes = defaultdict(list)
    for prefix, zones in TIMEZONE_DATA.items():
        prefixes[tuple(sorted(places[name] for name in zones))].append(prefix)
    sets = (
        f"{' '.join(map(str, zones))}:{' '.join(sorted(those))}"
        for zones, those in sorted(prefixes.items())
    )
    return "\n".join([HEAD + "\n".join(names), "", *sets, ""])


if __name__ == "__main__":
    PATH.write_text(table(), encoding="ascii")
