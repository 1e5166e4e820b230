"""Phrases of Offhook that a caller or a model is told in a call; keys of an agent file.

An agent that speaks another language has all of them in it. Words in braces are filled in.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from offhook.events.types import HandoffOutcome

LISTS: Final[Mapping[str, int]] = {"weekdays": 7, "months": 12}
"""Phrases that are lists, with the number of their names."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases of one agent, in English where its file has none."""

    # --- what the caller hears ---

    still_there: str = "Are you still there?"
    """The question to a silent caller."""
    silent_goodbye: str = "I cannot hear you. Goodbye."
    """The goodbye to a silent caller."""
    time_up: str = "We have reached the end of our time. Goodbye."
    """The goodbye at the time limit."""
    one_moment: str = "One moment, please."
    """Said when a function takes more than 3 s, or an answer more than `limits.answer_seconds`."""
    transferring: str = "One moment, I am connecting you."
    """Said before the caller is transferred."""

    # --- what the agent is told, as if the caller had said it ---

    keys_pressed: str = "(The caller pressed {keys} on the keypad.)"
    """Tells the agent which keys the caller has entered."""
    keys_sent: str = "(The keys were pressed. Go on.)"
    """Tells the agent that the keys of `send_digits` were pressed."""
    go_on: str = "(The line was interrupted. Go on from where you were.)"
    """Tells the agent to go on with what it was saying, or doing, when the line was interrupted."""
    transfer_failed: str = (
        "(The transfer to {destination} did not work: {reason}."
        " Tell the caller, and go on helping.)"
    )
    """Tells the agent that the caller is back; `{reason}` is one of the six below."""
    ask_again: str = (
        "(The connection to you was interrupted while the caller was speaking."
        " Ask the caller to say it again.)"
    )
    """Tells an agent whose connection was lost that the caller's words were lost, too."""
    handed_back: str = (
        "(A colleague has talked with the caller, who has heard nothing of you since.{note}"
        " Go on from there.)"
    )
    """Tells the agent that an operator has handed the caller back; `{note}` is the next one."""
    handed_back_note: str = " The colleague says: {note}"
    """Fills `{note}` when the operator left a note."""
    operator_lost: str = (
        "(A colleague was talking with the caller, who has heard nothing of you since, and the line"
        " to the colleague was lost. Go on helping.)"
    )
    """Tells the agent that the caller is with it again, as the operator was lost."""
    reason_busy: str = "the line is busy"
    """The line was busy."""
    reason_no_answer: str = "nobody answered"
    """The person did not answer."""
    reason_failed: str = "the number could not be reached"
    """The number does not exist, or the network failed."""
    reason_canceled: str = "it was called off"
    """The call was cancelled."""
    reason_declined: str = "they did not take the call"
    """A person who was asked first did not take the call."""
    reason_hung_up: str = "they hung up before the caller was there"
    """A person who was asked first took the call, and hung up."""

    # --- what a function or an operator is answered ---

    too_many_functions: str = "too many functions are called; this one was not run"
    """The model calls functions without end."""
    arguments_too_long: str = "the arguments are too long"
    """The arguments of a function have more than 64 KiB."""
    function_too_late: str = "this takes too long; it was stopped"
    """A function was stopped after 10 s."""
    outcome_unknown: str = (
        "It is not known whether this was done: it takes too long, and may yet be done."
        " Do not do it again. Tell the caller that it is not certain."
    )
    """A function that cannot be taken back takes more than 10 s."""
    done: str = "it is done"
    """A request was carried out."""
    being_said: str = "it is being said"
    """The agent says what it was asked to say."""
    agent_told: str = "the agent was told"
    """The agent got the text that it was to be told."""
    muted: str = "muted"
    """The caller hears nothing of the agent."""
    unmuted: str = "not muted"
    """The caller hears the agent again."""
    operator_speaks: str = "{operator} is speaking with the caller"
    """Nothing else can be asked of the agent while an operator speaks with the caller."""
    taken_over: str = "the caller hears you, and not the agent"
    """An operator speaks with the caller from now on."""
    agent_has_caller: str = "the caller is with the agent again"
    """An operator has handed the caller back."""
    not_taken_over: str = "nobody has taken this call over"
    """There is nobody who could hand the caller back."""
    no_caller: str = "the caller is not on the line at the moment"
    """A call cannot be taken over before the caller is there, or while they are transferred."""
    call_over: str = "the call is over"
    """The call is over, or was ended before the request could be carried out."""
    call_ending: str = "the call is being ended, or its caller transferred, already"
    """Last words are being said, so the request is refused."""
    no_agent: str = "nobody talks with the agent at the moment"
    """The agent is not there yet, or the caller is not."""
    agent_gone: str = "the agent's leg was given up"
    """The agent's session ended before it could answer."""
    agent_silent: str = "Deepgram has not answered within 10 s"
    """Deepgram has not said whether the request was carried out."""
    somebody_speaks: str = "somebody was speaking"
    """A text was not said because somebody was speaking."""
    listen_first: str = "the caller is speaking; listen first"
    """Last words or a prompt were not said because the caller was speaking."""
    called_off: str = "it was called off"
    """The request to end the call was withdrawn."""
    digits_asked: str = "digits are being asked for already"
    """A function asks for a secret while another one does."""
    digits_too_late: str = "the caller did not enter it in time"
    """The caller did not enter a secret in time."""
    digits_cut_short: str = "the call is being ended, or its caller transferred"
    """A secret was not entered before last words began."""
    digits_called_off: str = "nobody waits for it"
    """The request for a secret was withdrawn."""

    # --- what the functions of Offhook's own answer ---

    function_done: str = "done"
    """A function has returned nothing."""
    function_failed: str = "the function failed"
    """A function has raised something."""
    no_function: str = "there is no function {name}"
    """The model calls a function that the agent does not have."""
    functions_are: str = "; there are: {names}"
    """Follows `no_function` when the agent has some functions."""
    functions_busy: str = "too much is going on, try later"
    """No thread is free to run a function."""
    functions_used_up: str = "too much was done in this call already"
    """A call has run as many irreversible functions as it may."""
    argument_wrong: str = "{field}: {fault}"
    """An argument of the model is not valid. `{fault}` is English; `{kind}` is its name, such as
    `missing`."""
    variable_missing: str = "this cannot be done in this call, of which no {name} is known"
    """A function needs a variable that the call does not have."""
    no_words: str = "there are no words in it"
    """A function has an empty text said or told."""
    behavior_unknown: str = "behavior is default, queue or interrupt, not {behavior}"
    """A function has something said in a way that does not exist."""
    settings_refused: str = "{what} {fix}"
    """A function changes the agent to Settings that are not valid. Both parts are English."""
    not_recorded: str = "this call is over, or it is not recorded"
    """A recording is paused or resumed that does not exist."""
    no_destination: str = "there is no destination {destination}"
    """The model names a destination that the agent file does not have."""
    text_sent: str = "the text is on its way"
    """`send_sms` was done."""
    text_not_sent: str = "the text was not sent: {reason}"
    """`send_sms` was refused."""
    text_uncertain: str = "it is not known whether the text was sent; do not send it again"
    """Twilio gave no answer to `send_sms`."""
    text_length: str = "a text has 1 to {most} characters; this one has {length}"
    """A text is too long, or empty."""
    texts_off: str = "this agent has no number to send texts from"
    """The agent file has no `texts`."""
    texts_impossible: str = "no texts can be sent here: there are no credentials for it"
    """Texts need REST credentials."""
    text_withheld: str = "the caller's number is withheld, so no text can be sent to it"
    """There is no number to send a text to."""
    message_kept: str = "the message is kept for the people here"
    """`take_message` was done."""
    message_impossible: str = "there is no record here in which a message could be kept"
    """`take_message` needs a database."""
    not_called_again: str = "this number will not be called again"
    """`stop_calling_me` was done."""
    stop_impossible: str = (
        "there is no record here in which requests not to be called could be kept"
    )
    """`stop_calling_me` needs a database."""
    stop_withheld: str = "the number is withheld, so it cannot be put on the list"
    """`stop_calling_me` needs a number."""
    no_call: str = "there is no such call"
    """The request came after the end of the call."""
    beyond_reach: str = (
        "the agent's part is over; the caller is with Twilio, and is hung up on when Twilio asks"
        " what comes next. To end such a call at once takes REST credentials"
    )
    """An operator hangs up on a caller who has left the stream, without REST credentials."""
    keys_impossible: str = "keys cannot be pressed on this line"
    """`send_digits` needs our voice webhook, or REST credentials."""
    rings: str = (
        "It rings at {destination}. Stay with the caller, who is transferred as soon as they"
        " accept; if they do not, you are told."
    )
    """A warm transfer has begun."""
    not_transferred: str = "the caller was not transferred: {reason}"
    """A transfer was refused."""
    not_called: str = "nobody was called: {reason}"
    """A person who was to be asked first was not called."""
    transfer_impossible: str = "the caller cannot be transferred on this line"
    """A transfer needs our voice webhook, or REST credentials."""
    no_telephone: str = "this call comes from a browser, so there is no telephone line for that"
    """Transfers and keys need a telephone call."""
    call_impossible: str = "nobody can be called from here"
    """A warm transfer needs REST credentials."""
    reason_fault: str = "a fault in Offhook"
    """Reason why a person was not called: a fault in Offhook."""
    reason_credentials: str = "there are no credentials for it"
    """Reason why a person was not called: missing credentials."""
    reason_silence: str = "the telephone company gave no answer"
    """Reason why a person was not called: no answer from Twilio."""
    reason_unreachable: str = "Twilio could not be reached"
    """Reason why a text was not sent: Twilio could not be reached."""
    refusals: Mapping[str, str] = field(default_factory=dict)
    """Further reasons, each by its `why` or code; `default` is for the rest. Else English."""
    key_transfer_failed: str = "(The caller asked for {destination} by a key; {reason}.)"
    """A key did not transfer the caller."""

    # --- what a person hears who is asked before a transfer ---

    whisper: str = "A caller would like to talk with you.{about} Press {key} to take the call."
    """Said twice to a person who is asked before a transfer."""
    whisper_about: str = " It is about: {summary}"
    """Fills `{about}` when the agent gave a summary."""
    person_too_late: str = "The caller cannot be connected with you just now. Goodbye."
    """Said to them when they take the call of a caller who has left, or went on without them."""
    key_summary: str = "The caller asked for you by a key."
    """Summary for a transfer that the caller asked for by a key."""

    # --- what the variable `date` is made of ---

    date: str = "{weekday}, {day} {month} {year}"
    """Day of the call, `{{date}}`."""
    weekdays: str = "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday"
    """Fills `{weekday}`: seven names."""
    months: str = (
        "January, February, March, April, May, June,"
        " July, August, September, October, November, December"
    )
    """Fills `{month}`: twelve names."""


def fill(phrase: str, **values: str) -> str:
    """Fill the words in braces of a phrase; leave the others as they are."""
    for name, value in values.items():
        phrase = phrase.replace(f"{{{name}}}", value)
    return phrase


def listed(names: str) -> list[str]:
    """Return the names of a phrase that is a list."""
    return [name.strip() for name in names.split(",")]


def date_words(phrases: Phrases, day: datetime) -> str:
    """Return a date in an agent's words: strftime's would be in the language of this machine."""
    return fill(
        phrases.date,
        weekday=listed(phrases.weekdays)[day.weekday()],
        day=str(day.day),
        month=listed(phrases.months)[day.month - 1],
        year=str(day.year),
    )


def transfer_failed(phrases: Phrases, destination: str, outcome: HandoffOutcome) -> str:
    """Return what the agent is told of a failed transfer."""
    reasons: dict[HandoffOutcome, str] = {
        "busy": phrases.reason_busy,
        "no-answer": phrases.reason_no_answer,
        "failed": phrases.reason_failed,
        "canceled": phrases.reason_canceled,
        "declined": phrases.reason_declined,
        "hung-up": phrases.reason_hung_up,
    }
    return fill(phrases.transfer_failed, destination=destination, reason=reasons[outcome])
