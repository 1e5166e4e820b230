"""Bytes of WebSocket frames (RFC 6455, section 5), for tests and loads without an engine."""


def head(first: int, size: int, mask: bytes = b"") -> bytes:
    """Return the bytes before a payload of `size` bytes.

    `first` is FIN and the opcode. A client's frame has a `mask` of four bytes, a server's none.
    """
    bit = 0x80 if mask else 0
    if size < 126:
        return bytes((first, bit | size)) + mask
    if size < 65536:
        return bytes((first, bit | 126)) + size.to_bytes(2) + mask
    return bytes((first, bit | 127)) + size.to_bytes(8) + mask


def masked(payload: bytes, mask: bytes) -> bytes:
    """Return a payload with the mask put on it, or taken off."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(key)).to_bytes(size)
