"""A wire.Channel whose other end is the test."""

from collections.abc import Callable

from offhook.net.websocket import Receiver


class RecordingChannel:
    """Keeps what is done with it, in order: text as str, binary as bytes, a close as its code."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.done: list[str | bytes | int | None] = []
        self.on_send: Callable[[], None] = lambda: None
        """Called after each message, as a socket calls back from within a send when it fills up."""

    def send_text(self, text: bytes) -> None:
        self.done.append(text.decode())
        self.on_send()

    def send_binary(self, data: bytes) -> None:
        self.done.append(data)
        self.on_send()

    def close(self, code: int = 1000, reason: str = "", *, hears_out: bool = False) -> None:
        self.done.append(code)

    def abort(self) -> None:
        self.done.append(None)
