"""Keys as people paste them: cleaned, and told what they are not."""

import re
from typing import Final

SECRET_MAX: Final = 512
"""Characters of a key; Deepgram's and Twilio's have 40 and 32."""

_ACCOUNT: Final = re.compile(r"AC[0-9a-f]{32}")


def cleaned(pasted: str) -> str:
    """Return a key without what is often pasted with it: `NAME=`, `Token `, quotes, spaces."""
    text = re.sub(r"^\s*(export\s+)?[A-Z][A-Z_]+\s*=", "", pasted).strip()
    text = re.sub(r"^(Authorization:\s*)?(Token|Bearer)\s+", "", text, flags=re.IGNORECASE)
    return text.strip().strip("\"'").strip()


def why_no_secret(text: str) -> str | None:
    """Return why a text cannot be a key or a token; None if it can."""
    if not re.fullmatch(r"[!-~]+", text):
        return "A key has no spaces and only ASCII characters."
    if re.search(r"[\"'#\\`$]", text) or len(text) > SECRET_MAX:
        return "This is not a key."
    if _ACCOUNT.fullmatch(text):
        return "This is an Account SID, which is no secret."
    return None


def why_no_account_sid(text: str) -> str | None:
    """Return why a text cannot be an Account SID; None if it can."""
    if _ACCOUNT.fullmatch(text):
        return None
    if text.startswith("SK"):
        return "This is an API key; the Account SID begins with AC."
    if text.startswith("PN"):
        return "This is the SID of a number; the Account SID begins with AC."
    return "An Account SID is AC and 32 digits or letters from a to f."
