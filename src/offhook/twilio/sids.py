"""The shapes of Twilio's identifiers.

Source: the patterns of Twilio's OpenAPI description, which allow capital letters too; Twilio's own
examples have small ones (twilio.md §4.1).
"""

import re
from typing import Final

_DIGITS: Final = "[0-9a-fA-F]{32}"

CALL: Final = re.compile(f"CA{_DIGITS}")
ACCOUNT: Final = re.compile(f"AC{_DIGITS}")
STREAM: Final = re.compile(f"MZ{_DIGITS}")
RECORDING: Final = re.compile(f"RE{_DIGITS}")
