"""Redaction of personal data in texts before they are kept or passed on."""
