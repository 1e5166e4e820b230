"""Every place of the source that parses, and the target of the fuzzers that reaches it.

Whoever adds one names its target here, or why none is needed.
"""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import Final

from tests.fuzzing import TARGETS
from tests.sources import syntax_tree

import offhook

SOURCE: Final = Path(offhook.__file__).parent

PARSERS: Final = frozenset(
    {
        *("json.decode", "json.loads", "json.load", "json.Decoder", "Decoder", "msgspec.convert"),
        *("model_validate_json", "yaml.compose", "csv.reader", "parse_qsl", "parse_qs"),
        *("b64decode", "urlsafe_b64decode", "unpack", "unpack_from", "fromhex", "fromstring"),
        *("urlsplit", "ip_address", "fromisoformat", "phonenumbers.parse"),
    }
)
"""Ends of the names of calls that parse."""

OURS: Final = "our own database, where our own code has put it"
ANSWERS: Final = "the command's own server answers it, and a fault ends the command alone"

CONFIGURED: Final = "the operator's configuration, by a validator whose error names the line"
CHECKED: Final = "a URL of the configuration, which was parsed when that was read"

SITES: Final[dict[str, tuple[int, str]]] = {
    "api/auth.py": (2, "`authorization` and `origin`"),
    "api/client_address.py": (1, "`client.address`"),
    "api/links.py": (1, "`audio.link`"),
    "calls/live_facts.py": (2, "`live.file`"),
    "calls/lookup.py": (1, "`lookup.answer`"),
    "calls/operators.py": (1, "`operator.audio`"),
    "capture/masking.py": (2, "`masking`"),
    "capture/wire_log.py": (3, "as `capture`: both read the lines of one file by one model"),
    "capture/writer.py": (1, "`twilio.media.read`: it is told what was read, or that nothing was"),
    "cli/api_client.py": (1, "the file of a server's URL, " + ANSWERS),
    "cli/calls/event_printer.py": (2, ANSWERS),
    "cli/calls/event_stream.py": (1, ANSWERS),
    "cli/demo_call.py": (1, "a link that the command's own server has made"),
    "cli/placement_client.py": (3, ANSWERS),
    "cli/twiml.py": (1, "the command's own document, which it checks"),
    "config/agent_file.py": (1, CONFIGURED),
    "config/agents.py": (1, CHECKED),
    "config/deepgram_settings.py": (1, CONFIGURED),
    "config/fleet_settings.py": (2, CONFIGURED),
    "config/records_settings.py": (1, CONFIGURED),
    "config/server_settings.py": (1, CONFIGURED),
    "config/twilio_settings.py": (1, CONFIGURED),
    "config/environment.py": (1, "`environment`"),
    "config/webhook_secret.py": (1, "a secret of the environment, at the start"),
    "deepgram/connection.py": (2, CHECKED),
    "deepgram/messages.py": (1, "`deepgram.messages.read`"),
    "deepgram/settings.py": (1, "Settings of our own, which the server has made"),
    "deepgram/settings_checks.py": (1, "`agent`"),
    "deepgram/speak_checks.py": (2, "`agent`"),
    "doctor/agent_session.py": (3, CHECKED),
    "doctor/examination.py": (1, CHECKED),
    "doctor/public_url.py": (2, CHECKED),
    "fleet/budget.py": (1, CHECKED),
    "fleet/tokens.py": (4, "`fleet.token`; what is decoded was signed by a node"),
    "events/stored.py": (3, "`journal`; else " + OURS),
    "journal/entries.py": (2, "`journal`"),
    "journal/folders.py": (1, "`process.info`"),
    "journal/legacy.py": (2, "`journal.legacy`"),
    "journal/segments.py": (3, "`journal.segment`"),
    "link/agent_directory.py": (1, "Settings of our own, which the server has made"),
    "link/channel.py": (1, "`link.stream`"),
    "link/client.py": (2, "`link.reply`"),
    "link/node_links.py": (1, "the address of a node, which it has checked in its configuration"),
    "link/orders.py": (1, "`link.arguments`"),
    "link/server.py": (3, "`link.request`"),
    "net/addresses.py": (3, "`address`"),
    "net/egress.py": (1, "addresses that the system's resolver has made"),
    "numbers/routes.py": (2, "what Twilio's REST API has, and a fault ends the command"),
    "observability/log_format.py": (1, "a time that the log's own formatter has written"),
    "policy/dial_policy.py": (1, "`destination`"),
    "numbers/kept_routes.py": (1, "a file of the command's own, and a fault ends the command"),
    "outbound/contacts.py": (2, "`people`"),
    "outbound/zones.py": (1, "`zones`"),
    "outbound/list_progress.py": (1, "a file of the command's own, and a fault ends the command"),
    "recordings/wav.py": (3, "`wav.stereo` and `wav.clip`"),
    "records/call_record.py": (2, OURS),
    "records/erasing.py": (1, OURS),
    "records/filters.py": (1, "`moment`"),
    "records/pages.py": (2, "`cursor`"),
    "redaction/redactor.py": (2, "`redaction.json`; the other reads what CallBegan was made of"),
    "serving/operator_server.py": (1, "its own file, to remove it at the end"),
    "serving/options.py": (1, "what the supervisor gives the process it starts"),
    "text/extras.py": (2, "metadata of the installed package"),
    "text/urls.py": (3, "`masking`"),
    "tools/declare.py": (1, "`tool.arguments`"),
    "tools/process_messages.py": (2, "`process.reply`"),
    "twilio/errors.py": (1, "`rest.refusal`"),
    "twilio/messages.py": (1, "`twilio.media.read`"),
    "twilio/rest.py": (1, "`rest.answer`"),
    "webhooks/auth.py": (1, "`origin`"),
    "webhooks/routes.py": (2, "`origin`"),
    "webhooks/form_checks.py": (1, "`form`"),
    "yamlfile.py": (1, "`yaml`"),
}
"""By file: how often it parses, and the targets that reach it, or a reason without one."""


def sites() -> dict[str, int]:
    found: Counter[str] = Counter()
    for path in SOURCE.rglob("*.py"):
        if path.relative_to(SOURCE).parts[0] in ("testing", "bench"):
            continue  # they run in no server
        text = path.read_text(encoding="utf-8")
        if re.search("|".join(name.rpartition(".")[2] for name in PARSERS), text) is None:
            continue
        for node in ast.walk(syntax_tree(text)):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if any(name == one or name.endswith(f".{one}") for one in PARSERS):
                    found[path.relative_to(SOURCE).as_posix()] += 1
    return dict(found)


def test_every_place_that_parses_has_a_target_or_a_reason() -> None:
    assert {name: count for name, (count, _) in SITES.items()} == sites()


def test_the_targets_that_are_named_are_there() -> None:
    named = {name for _, why in SITES.values() for name in re.findall(r"`([a-z_.]+)`", why)}
    assert named - TARGETS.keys() == set()
    assert len(named) > 20
