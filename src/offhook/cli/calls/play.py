"""Command `offhook calls play`: play the recording of a call."""

from pathlib import Path

import typer

from offhook.cli import options

PLAYERS: tuple[tuple[str, ...], ...] = (
    ("afplay",),
    ("paplay",),
    ("pw-play",),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("aplay", "-q"),
)
"""Programs that play a mu-law WAV file. The first that is installed is used."""


def play(sid: options.Sid, config: options.Config = None, as_json: options.Json = False) -> None:
    """Play the recording of a call, caller left, agent right. With --json print its path."""
    from offhook.cli.calls.record_access import opened, recording, records_of
    from offhook.errors import UserError
    from offhook.journal.folders import machine_id
    from offhook.records import call_record, queries
    from offhook.records.recording_place import elsewhere, node_of_recording

    records = records_of(config)
    with opened(records) as connection:
        record = call_record.shown(connection, queries.find_sid(connection, sid))
        node = node_of_recording(connection, record.call.sid, machine_id(records.journals))
    name = record.call.recording
    file = None if name is None else recording(records, name)
    if name is not None and file is None and node is not None:
        raise elsewhere(name, node)
    if name is None or file is None:
        why = "it was not recorded" if name is None else "its recording is not there"
        raise UserError(
            "E-ASK-09",
            f"The call cannot be heard: {why}.",
            "See what is known of it with offhook calls show.",
        )
    file.close()
    path = records.recordings / name
    if as_json:
        answer = {"sid": record.call.sid, "path": str(path), "duration_ms": record.recording_ms}
        options.print_json(answer)
    else:
        _play(path)


def _play(path: Path) -> None:
    import os
    import shutil
    import subprocess
    import sys

    from offhook.errors import UserError

    print(path)
    if sys.platform == "win32":
        os.startfile(path)  # noqa: S606 - our own file, with what the user has for WAV files
        return
    found = next((player for player in PLAYERS if shutil.which(player[0])), None)
    if found is None:
        names = ", ".join(player[0] for player in PLAYERS)
        print(f"No player is installed here ({names}). Open the file in any other.")
        return
    try:
        ended = subprocess.run([*found, str(path)], check=False)  # noqa: S603 - one of PLAYERS
    except KeyboardInterrupt:
        raise typer.Exit from None
    if ended.returncode:
        raise UserError(
            "E-ASK-10",
            f"{found[0]} could not play the recording: exit code {ended.returncode}.",
            "Open the file whose path is printed in another player.",
        )
