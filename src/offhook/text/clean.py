"""Text from models, functions and other programs, made fit to be written anywhere."""

import re
from typing import Final

_NO_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 §2.2 allows in no document, not even escaped."""


def whole(text: str) -> str:
    """Return the text without lone surrogates, which no encoding takes; pairs become characters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def for_xml(text: str) -> str:
    """Return the text with a space for each character that XML does not allow."""
    return _NO_XML.sub(" ", whole(text))
