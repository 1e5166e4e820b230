"""The form of a phone number, defined once."""

import re
from typing import Final

E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
"""A phone number in E.164: + and 7 to 15 digits, none of another script."""
