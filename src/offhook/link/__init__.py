"""The local socket between a call process and the operator's process."""
