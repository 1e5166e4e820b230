"""After-call webhooks over real sockets: delivered once they can be, whatever the target does."""

import datetime
import re
import ssl
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from sqlalchemy import Engine, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from tests.records.test_jobs import job, keep, now_of
from tests.records.test_store import WHOLE, began, ended, lines, rows
from tests.target import (
    Behaviour,
    Received,
    answer,
    cut,
    drip,
    flood,
    hang,
    target,
)
from tests.waiting import wait_until

from offhook.config import load_app
from offhook.config.webhook_secret import signing_key
from offhook.errors import UserError
from offhook.recordings.files import LocalFiles
from offhook.records import delivery, erasing, jobs, tables
from offhook.records.call_record import exported, show
from offhook.records.delivery import WebhookDelivery

SECRETS = ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_" + "ab12" * 16)
PAGE = Path(__file__).parents[2] / "docs" / "after-call.md"


@contextmanager
def delivering(engine: Engine, url: str) -> Iterator[None]:
    with WebhookDelivery(engine, url, SECRETS, "USD"):
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that a test can wait for."""
    monkeypatch.setattr(jobs, "WAITS_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(delivery, "POLL_S", 0.02)
    monkeypatch.setattr(delivery, "ATTEMPT_S", 0.5)


def delivered(engine: Engine, sid: str = "CA1") -> Callable[[], bool]:
    return lambda: job(engine, sid)["done_ms"] is not None


def over(engine: Engine, sid: str = "CA1") -> Callable[[], bool]:
    return lambda: job(engine, sid)["due_ms"] is None


def of_the_page(function: str) -> Callable[..., Any]:
    """A receiver's function as the page has it."""
    scope: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(textwrap.dedent(code), scope)
    return scope[function]  # type: ignore[no-any-return]


def test_the_record_is_posted_and_can_be_verified_as_the_page_says(engine: Engine) -> None:
    keep(engine, WHOLE)
    with target() as t, delivering(engine, t.url):
        wait_until(delivered(engine))
    [request] = t.received
    assert request.json["id"] == request.headers["webhook-id"] == "call_ended_CA1"
    assert request.json["type"] == "call.ended"
    with engine.connect() as connection:
        record = show(connection, "CA1")
        assert record is not None
        assert request.json["call"] == msgspec.to_builtins(exported(record, "USD"))
    assert request.headers["Offhook-Attempt"] == "1"
    assert request.headers["Content-Type"] == "application/json"
    headers, other = dict(request.headers), "whsec_" + "cd34" * 16
    record_of, verified = of_the_page("record_of"), of_the_page("verified")
    at_s = now_of(engine) / 1000
    for secret in SECRETS:
        assert verified(request.body, headers, secret, at_s)
        assert record_of(request.body, headers, secret) == request.json["call"]
    assert not verified(request.body, headers, SECRETS[0], at_s + 3600)
    for body, sent, secret in (
        (request.body, headers, other),
        (request.body + b" ", headers, SECRETS[0]),
        (request.body, headers | {"webhook-id": "call_ended_CA2"}, SECRETS[0]),
        (request.body, headers | {"webhook-timestamp": str(int(at_s) - 9)}, SECRETS[0]),
        (request.body, headers | {"webhook-signature": "v1,aGVsbG8="}, SECRETS[0]),
    ):
        assert not verified(body, sent, secret, at_s)
        with pytest.raises(WebhookVerificationError):
            record_of(body, sent, secret)


def test_the_signature_is_that_of_the_standards_own_library() -> None:
    """With the example of the standard, and a body beyond ASCII."""
    at = datetime.datetime.fromtimestamp(1_614_265_330, datetime.UTC)
    for body in ('{"test": 2432232314}', '{"é": "🙂"}'):
        keys = [signing_key(secret) for secret in SECRETS]
        oracle = [
            Webhook(secret).sign("msg_p5jXN8AQM9LWM0D4loKWxJek", at, body) for secret in SECRETS
        ]
        made = delivery.signed("msg_p5jXN8AQM9LWM0D4loKWxJek", body.encode(), 1_614_265_330, keys)
        assert made == {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": " ".join(oracle),
        }


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("4f0c" * 16, "begins with whsec_"),
        ("whsec_not base64!", "not base64"),
        ("whsec_" + "ab12" * 5, "24 to 64 bytes, and this one 15"),
        ("whsec_" + "ab12" * 22, "24 to 64 bytes, and this one 66"),
    ],
    ids=["as before", "not base64", "too short", "too long"],
)
def test_a_secret_that_the_standard_does_not_know_is_refused(secret: str, words: str) -> None:
    environ = {"OFFHOOK_WEBHOOK_SECRET": f"{SECRETS[0]},{secret}"}
    with pytest.raises(UserError, match=words) as refused:
        load_app(None, environ).require_webhook_secrets()
    assert refused.value.code == "E-HOOK-01"
    assert secret not in str(refused.value)
    assert "openssl rand -base64 32" in refused.value.fix


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (answer(500), "HTTP 500"),
        (answer(404), "HTTP 404"),
        (cut, "RemoteProtocolError"),
        (hang, "no answer within"),
        (drip, "no answer within"),
    ],
)
def test_what_was_not_taken_comes_again(
    engine: Engine, behaviour: Behaviour, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(engine, WHOLE)
    errors = []
    failed = jobs.failed

    def note(*arguments: Any) -> Any:
        errors.append(arguments[3])
        return failed(*arguments)

    monkeypatch.setattr(jobs, "failed", note)
    with target(behaviour, behaviour, answer(200)) as t, delivering(engine, t.url):
        wait_until(delivered(engine))
    assert [found.startswith(error) for found in errors] == [True, True]
    assert [found.headers["Offhook-Attempt"] for found in t.received] == ["1", "2", "3"]
    assert len({found.json["id"] for found in t.received}) == 1
    assert job(engine)["last_error"] is None


@pytest.mark.usefixtures("quick")
def test_a_redirect_is_not_followed(engine: Engine) -> None:
    keep(engine, WHOLE)
    with target() as elsewhere:
        with target(answer(307, Location=elsewhere.url)) as t, delivering(engine, t.url):
            wait_until(over(engine))
        assert elsewhere.received == []
    assert job(engine)["last_error"] == "HTTP 307"
    assert len(t.received) == len(jobs.WAITS_S) + 1


@pytest.mark.usefixtures("quick")
def test_an_answer_without_an_end_is_not_read(engine: Engine) -> None:
    keep(engine, WHOLE)
    with target(flood) as t, delivering(engine, t.url):
        wait_until(delivered(engine))
    assert len(t.received) == 1


@pytest.mark.usefixtures("quick")
def test_a_target_that_is_gone_is_asked_once(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    keep(engine, WHOLE)
    with target(answer(410)) as t, delivering(engine, t.url):
        wait_until(over(engine))
    assert len(t.received) == 1
    assert job(engine)["last_error"] == "HTTP 410"
    assert "E-HOOK-02" in caplog.text
    assert "+1202" not in caplog.text
    assert SECRETS[0] not in caplog.text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("http://127.0.0.1:1/", "ConnectError"),
        ("https://no-such-host.invalid/", "ConnectError"),
        ("https://a..b/", ""),
        ("http://[::1]:99999/", ""),
    ],
)
def test_a_target_that_is_not_there_is_given_up_at_last(
    engine: Engine, where: str, error: str
) -> None:
    keep(engine, WHOLE)
    with delivering(engine, where):
        wait_until(over(engine))
    assert job(engine)["done_ms"] is None
    assert job(engine)["last_error"].startswith(error)
    assert job(engine)["attempts"] == len(jobs.WAITS_S) + 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("trusted", [False, True])
def test_over_tls_the_certificate_must_hold(
    engine: Engine, trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    if trusted:
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    keep(engine, WHOLE)
    with target(tls=context) as t, delivering(engine, t.url):
        wait_until(over(engine))
    assert (job(engine)["done_ms"] is not None) == trusted
    assert len(t.received) == trusted
    if not trusted:
        assert "CERTIFICATE_VERIFY_FAILED" in job(engine)["last_error"]


@pytest.mark.usefixtures("quick")
def test_so_many_at_once_and_no_more(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "ATTEMPT_S", 60)  # for each waits for others
    sids = [f"CA{number}" for number in range(12)]
    for index, sid in enumerate(sids):
        keep(engine, lines((0, began()), (9, ended()), call_sid=sid, first=9 * index + 1))
    make_due(engine)
    together = threading.Barrier(delivery.SLOTS)

    def meet(request: Any) -> None:
        together.wait(20)
        answer(200)(request)

    with target(meet) as t, delivering(engine, t.url):
        wait_until(lambda: all(row["done_ms"] for row in rows(engine, tables.jobs)))
    assert t.most_at_once == delivery.SLOTS
    assert sorted(found.json["call"]["call"]["sid"] for found in t.received) == sorted(sids)


@pytest.mark.usefixtures("quick")
def test_of_an_erased_call_nothing_more_is_sent(engine: Engine, tmp_path: Path) -> None:
    keep(engine, WHOLE)
    with target(answer(500)) as t, delivering(engine, t.url):
        t.until(1)
        erasing.erase(engine, LocalFiles(tmp_path / "recordings"), tmp_path, ["CA1"])
        assert rows(engine, tables.jobs) == []
        sent = len(t.received)
    assert len(t.received) <= sent + 1  # one may have been on its way


@pytest.mark.usefixtures("quick")
def test_what_a_stopping_server_had_begun_comes_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ATTEMPT_S", 30.0)
    monkeypatch.setattr(delivery, "STOP_S", 0.1)
    keep(engine, WHOLE)
    with target(hang, answer(200)) as t:
        with delivering(engine, t.url):
            t.until(1)
        make_due(engine)  # as when the claim has run out
        with delivering(engine, t.url):
            wait_until(delivered(engine))
        assert ids(t.received) == {"call_ended_CA1"}
        assert [found.headers["Offhook-Attempt"] for found in t.received] == ["1", "2"]
    # The first server's thread has its answer now, and still tells the database.
    wait_until(lambda: all(one.name != "after CA1" for one in threading.enumerate()))


@pytest.mark.usefixtures("quick")
def test_a_database_that_fails_is_tried_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep(engine, WHOLE)
    tables.jobs.name, known = "not_there", tables.jobs.name
    with target() as t, delivering(engine, t.url):
        wait_until(lambda: "wait for the database" in caplog.text)
        tables.jobs.name = known
        engine.clear_compiled_cache()
        wait_until(delivered(engine))
    assert len(t.received) == 1


@pytest.mark.usefixtures("quick")
def test_a_fault_of_our_own_ends_no_thread(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep(engine, WHOLE)
    monkeypatch.setattr(delivery, "PAUSE_S", 0.05)
    claim = jobs.claim
    raised: list[int] = []

    def fail_first(*arguments: Any) -> Any:
        if len(raised) < 3:
            raised.append(1)
            raise ValueError("what Ada said")
        return claim(*arguments)

    monkeypatch.setattr(jobs, "claim", fail_first)
    with target() as t, delivering(engine, t.url):
        wait_until(delivered(engine))
    assert len(t.received) == 1
    assert caplog.text.count("claiming a webhook raised ValueError") == 3
    assert "what Ada said" not in caplog.text


@pytest.mark.usefixtures("quick")
def test_no_thread_to_be_had_is_tried_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keep(engine, WHOLE)
    monkeypatch.setattr(delivery, "PAUSE_S", 0.05)
    start = threading.Thread.start
    refused: list[int] = []

    def refuse_first(thread: threading.Thread) -> None:
        if thread.name == "after CA1" and len(refused) < delivery.SLOTS + 1:
            refused.append(1)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_first)
    monkeypatch.setattr(jobs, "LEASE_MS", 500)
    with target() as t, delivering(engine, t.url):
        wait_until(delivered(engine))
    assert ids(t.received) == {"call_ended_CA1"}
    assert "no thread for its webhook" in caplog.text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
def test_a_clock_that_jumps_an_hour_loses_nothing(
    engine: Engine, jump_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(engine, WHOLE)
    jumped = threading.Event()

    def clock_ms(_: Any) -> int:
        return now_of(engine) + (jump_ms if jumped.is_set() else 0)

    monkeypatch.setattr(delivery, "clock_ms", clock_ms)

    def jump(request: Any) -> None:
        jumped.set()
        answer(500)(request)

    with target(jump, answer(200)) as t, delivering(engine, t.url):
        wait_until(delivered(engine))
    assert ids(t.received) == {"call_ended_CA1"}
    # Set ahead, it lets the claim of the first attempt run out while that is under way.
    assert len(t.received) >= 2
    assert job(engine)["last_error"] is None


@pytest.mark.usefixtures("quick")
def test_what_becomes_of_deliveries_is_counted(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LOOK_MS", 0)
    for index, sid in enumerate(("CA1", "CA2")):
        keep(engine, lines((0, began()), (9, ended()), call_sid=sid, first=9 * index + 1))
    with engine.begin() as connection:
        connection.execute(update(tables.jobs).values(made_ms=now_of(engine) - 60_000))
    with (
        target(answer(500), answer(410), hang, answer(200)) as t,
        WebhookDelivery(engine, t.url, SECRETS, "USD") as deliveries,
    ):
        assert deliveries.waiting.calls in (0, 2)
        make_due(engine)
        wait_until(lambda: deliveries.delivered == 1)
        wait_until(lambda: deliveries.waiting == (0, 0))
        assert (deliveries.failed, deliveries.given_up) == (2, 1)


def test_how_many_wait_and_for_how_long(engine: Engine) -> None:
    with engine.connect() as connection:
        assert jobs.waiting(connection, 0) == (0, 0)
    keep(engine, WHOLE)
    keep(engine, lines((0, began()), (9, ended()), call_sid="CA2", first=50))
    made_ms = min(row["made_ms"] for row in rows(engine, tables.jobs))
    with engine.begin() as connection:
        assert jobs.waiting(connection, made_ms + 90_000) == (2, 90_000)
        assert jobs.waiting(connection, made_ms - 3_600_000) == (2, 0)  # a clock that was set back
        claimed = jobs.claim(connection, made_ms + 90_000)
        assert claimed is not None
        assert jobs.waiting(connection, made_ms + 90_000).calls == 2, "until it is done"
        jobs.done(connection, claimed, made_ms + 90_000)
        assert jobs.waiting(connection, made_ms + 90_000).calls == 1


SERVER = """
import sys, time
from offhook.records import database, delivery
from offhook.records.delivery import WebhookDelivery
delivery.POLL_S = 0.02
engine = database.open_engine(database.url_of(sys.argv[1]))
with WebhookDelivery(engine, sys.argv[2], ("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",), "USD"):
    time.sleep(600)
"""


@contextmanager
def server(url: str, to: str) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that delivers what is due."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, url, to])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_server_killed_in_mid_delivery_delivers_after_its_restart(
    engine: Engine, url: str
) -> None:
    keep(engine, WHOLE)
    with target(hang, answer(200)) as t:
        with server(url, t.url):
            t.until(1)  # and SIGKILL
        claimed = job(engine)
        assert (claimed["attempts"], claimed["done_ms"]) == (1, None)
        assert claimed["due_ms"] > now_of(engine), "nobody has it before the claim has run out"
        make_due(engine)
        with server(url, t.url):
            wait_until(delivered(engine))
        first, second = t.received
    assert first.json == second.json
    assert first.json["id"] == "call_ended_CA1"
    assert [found.headers["Offhook-Attempt"] for found in t.received] == ["1", "2"]


def make_due(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(tables.jobs).values(due_ms=0))


def ids(received: list[Received]) -> set[str]:
    return {found.json["id"] for found in received}
