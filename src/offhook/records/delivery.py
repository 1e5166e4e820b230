"""After-call webhooks: each ended call's record is POSTed, signed, until the target accepts it.

Requests are signed as Standard Webhooks 1.0 says (https://www.standardwebhooks.com).

Deliveries run in threads of their own: a target, a name server or a database that hangs holds at
most SLOTS threads, and never the event loop. The database has the list of deliveries (jobs.py).
"""

import asyncio
import base64
import hmac
import logging
import random
import threading
from collections.abc import Iterable
from typing import Final

import msgspec
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from offhook import __version__
from offhook.concurrency.background_thread import BackgroundThread, ThreadOwner
from offhook.config.webhook_secret import signing_key
from offhook.net import egress, tls
from offhook.records import jobs
from offhook.records.call_record import exported, show
from offhook.records.database import clock_ms
from offhook.records.jobs import WebhookJob
from offhook.records.models import ExportedCall
from offhook.records.queries import iso
from offhook.text import urls

_log: Final = logging.getLogger("offhook.records")

SLOTS: Final = 4
"""Deliveries at the same time."""

ATTEMPT_S: Final = 10.0
"""Seconds that name, network, TLS and the target's answer may take together."""

POLL_S: Final = 1.0
"""Seconds between two looks for a job that is due."""

PAUSE_S: Final = 10.0
"""Seconds for which nothing is claimed after a fault of our own."""

LOOK_MS: Final = 10_000
"""Milliseconds between two counts of the waiting jobs."""

STOP_S: Final = 3.0
"""Seconds that a stopping server waits for deliveries that have begun; others are tried again."""

ID_HEADER: Final = "webhook-id"
TIME_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"


class DeliveryError(Exception):
    """Error: the target did not accept a record. `gone`: it wants no more attempts."""

    def __init__(self, words: str, *, gone: bool = False) -> None:
        super().__init__(words)
        self.gone = gone


class WebhookDelivery(ThreadOwner):
    """Delivery to `url` of the jobs that are due in the database of `engine`. A context manager.

    Each of `secrets` (whsec_…) signs each request, so that a target can check either while one is
    rotated.
    """

    def __init__(self, engine: Engine, url: str, secrets: tuple[str, ...], currency: str) -> None:
        self._engine = engine
        self._currency = currency
        self._url = url
        self._keys = tuple(map(signing_key, secrets))
        self._tls = tls.verifying()
        self.delivered = 0
        self.failed = 0
        """Attempts that failed and are to be followed by another."""
        self.given_up = 0
        self.waiting = jobs.WaitingWebhooks(0, 0)
        """Deliveries that wait for any server, as last counted."""
        self._free = threading.Semaphore(SLOTS)
        self._counting = threading.Lock()
        self._failing = False
        self._looked_ms = 0
        self._threads: set[threading.Thread] = set()
        self.thread = BackgroundThread("after calls", self._work, stop_s=STOP_S)

    def _after_stop(self, *, in_time: bool) -> None:
        # No other delivery begins now.
        for thread in list(self._threads):
            thread.join(STOP_S)

    # --- the thread that claims ----------------------------------------------------------------

    def _work(self) -> float:
        if self.thread.stopping or not self._free.acquire(timeout=POLL_S):
            return 0.0
        job, pause = None, POLL_S
        try:
            with self._engine.begin() as connection:
                now_ms = clock_ms(connection)
                job = jobs.claim(connection, now_ms)
                if abs(now_ms - self._looked_ms) >= LOOK_MS:
                    self.waiting = jobs.waiting(connection, now_ms)
                    self._looked_ms = now_ms
            self._failing = False
        except SQLAlchemyError as error:
            if not self._failing:
                _log.warning("after-call webhooks wait for the database (%s)", type(error).__name__)
            self._failing, job = True, None
        except Exception as error:  # noqa: BLE001 - webhooks go on whatever it is
            # The error's message may hold what was said.
            _log.error("a fault: claiming a webhook raised %s", type(error).__name__)
            job, pause = None, PAUSE_S
        if job is None:
            self._free.release()
            return pause
        thread = threading.Thread(
            target=self._deliver, args=(job,), name=f"after {job.call_sid}", daemon=True
        )
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no more threads: the claim runs out, and it is tried again
            _log.warning("call %s: no thread for its webhook", job.call_sid)
            self._threads.discard(thread)
            self._free.release()
            return PAUSE_S
        return 0.0

    # --- the threads that deliver --------------------------------------------------------------

    def _deliver(self, job: WebhookJob) -> None:
        try:
            with self._engine.connect() as connection:
                record = show(connection, job.call_sid)
                now_ms = clock_ms(connection)
            if record is None:
                return  # the call was erased since the claim
            body = body_of(job, exported(record, self._currency))
            headers = {
                "Content-Type": "application/json",
                "User-Agent": f"Offhook/{__version__}",
                "Offhook-Attempt": str(job.attempt),
                **signed(message_id(job), body, now_ms // 1000, self._keys),
            }
            try:
                asyncio.run(self._post(body, headers))
            except DeliveryError as answer:
                self._on_refused(job, answer)
            else:
                with self._engine.begin() as connection:
                    jobs.done(connection, job, clock_ms(connection))
                self._count(delivered=1)
                _log.info("call %s: its webhook was delivered", job.call_sid)
        except SQLAlchemyError as error:
            # The result cannot be kept, so the job is done again when the claim has run out.
            words = type(error).__name__
            _log.warning("call %s: its webhook waits for the database (%s)", job.call_sid, words)
        except Exception as error:  # noqa: BLE001 - one record that cannot be sent holds up no other
            # The error's message may hold what was said. The claim runs out, and it is tried again.
            _log.error("a fault: the webhook of %s raised %s", job.call_sid, type(error).__name__)
        finally:
            self._threads.discard(threading.current_thread())
            self._free.release()

    def _on_refused(self, job: WebhookJob, answer: DeliveryError) -> None:
        with self._engine.begin() as connection:
            now_ms = clock_ms(connection)
            if answer.gone:
                due_ms = None
                jobs.give_up(connection, job, str(answer))
            else:
                due_ms = jobs.failed(connection, job, now_ms, str(answer), random.random())
        self._count(failed=due_ms is not None, given_up=due_ms is None)
        if due_ms is None:
            _log.error(
                "E-HOOK-02 The after-call webhook of %s is given up after %d attempts: %s."
                " Mend the target, then run: offhook calls resend %s",
                job.call_sid,
                job.attempt,
                answer,
                job.call_sid,
            )
        else:
            _log.warning(
                "call %s: its webhook was not taken (%s); attempt %d follows in %d s",
                job.call_sid,
                answer,
                job.attempt + 1,
                (due_ms - now_ms) // 1000,
            )

    def _count(self, *, delivered: int = 0, failed: int = 0, given_up: int = 0) -> None:
        with self._counting:
            self.delivered += delivered
            self.failed += failed
            self.given_up += given_up

    async def _post(self, body: bytes, headers: dict[str, str]) -> None:
        """Send the request. Raises DeliveryError, whatever went wrong."""
        try:
            async with (
                asyncio.timeout(ATTEMPT_S),
                # Redirects are not followed: the record goes only to the configured target.
                egress.client((self._url,), verify=self._tls) as client,
                # Nothing of the answer's body is read, however long it is.
                client.stream("POST", self._url, content=body, headers=headers) as response,
            ):
                status = response.status_code
        except TimeoutError:
            raise DeliveryError(f"no answer within {ATTEMPT_S:g} s") from None
        except Exception as error:  # noqa: BLE001 - there are many ways for a target not to be there
            words = urls.masked_in(str(error), with_path=False)
            raise DeliveryError(f"{type(error).__name__}: {words}") from None
        if not 200 <= status < 300:
            raise DeliveryError(f"HTTP {status}", gone=status == 410)


def message_id(job: WebhookJob) -> str:
    """Return the id of what is sent, the same in every attempt. Dots would part what is signed."""
    return f"call_ended_{job.call_sid}"


def body_of(job: WebhookJob, record: ExportedCall) -> bytes:
    """Return the JSON that is sent."""
    return msgspec.json.encode(
        {
            "id": message_id(job),
            "type": "call.ended",
            "created": iso(job.made_ms),
            "call": record,
        }
    )


def signed(message: str, body: bytes, at_s: int, keys: Iterable[bytes]) -> dict[str, str]:
    """Return the headers that sign a message: its id, the time in s, a signature by each key."""
    content = f"{message}.{at_s}.".encode() + body
    made = (base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys)
    return {
        ID_HEADER: message,
        TIME_HEADER: str(at_s),
        SIGNATURE_HEADER: " ".join(f"v1,{signature}" for signature in made),
    }
