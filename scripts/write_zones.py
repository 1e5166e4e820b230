"""Write src/offhook/outbound/zones.txt: which time zones a phone number may be in, by its prefix.

The data are libphonenumber's (Apache-2.0), as the package phonenumbers has them. Offhook runs on
phonenumberslite, which leaves them out. The two packages own the same files, so phonenumbers never
comes into .venv: `make lock` runs this script in an environment of its own, with phonenumbers of
the version at which phonenumberslite is locked. The script also writes the zones that phonenumbers
has for each of its example numbers, to which a test holds the table and its reader.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATH = ROOT / "src/offhook/outbound/zones.txt"
EXAMPLES = ROOT / "tests/outbound/number_zones.txt"

HEAD = """\
# Time zones of phone numbers by prefix, from libphonenumber (Apache-2.0). Made by
# scripts/write_zones.py from phonenumbers {version}. First the zones, one a line; then, after an
# empty line, for each set of zones their places in that list, a colon, and the prefixes that have
# that set.
"""


def table(data: Mapping[str, Collection[str]], version: str) -> str:
    """Return the text of zones.txt. `data` are zones by prefix."""
    names = sorted({name for zones in data.values() for name in zones})
    places = {name: place for place, name in enumerate(names)}
    prefixes = defaultdict(list)
    for prefix, zones in data.items():
        prefixes[tuple(sorted(places[name] for name in zones))].append(prefix)
    sets = (
        f"{' '.join(map(str, zones))}:{' '.join(sorted(those))}"
        for zones, those in sorted(prefixes.items())
    )
    return "\n".join([HEAD.format(version=version) + "\n".join(names), "", *sets, ""])


def examples() -> Iterator[tuple[str, str]]:
    """Yield a number of each kind in each country, and its zones with spaces between them."""
    import phonenumbers
    from phonenumbers.timezone import time_zones_for_number

    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in phonenumbers.PhoneNumberType.values():
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                zones = sorted(set(time_zones_for_number(number)) - {"Etc/Unknown"})
                written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
                yield written, " ".join(zones)


def main() -> None:
    """Write both files."""
    import phonenumbers
    from phonenumbers.tzdata import TIMEZONE_DATA  # type: ignore[import-not-found]

    PATH.write_text(table(TIMEZONE_DATA, phonenumbers.__version__), encoding="ascii")
    numbers = defaultdict(set)
    for number, zones in examples():
        numbers[zones].add(number)
    lines = (f"{zones}:{' '.join(sorted(numbers[zones]))}\n" for zones in sorted(numbers))
    EXAMPLES.write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    main()
