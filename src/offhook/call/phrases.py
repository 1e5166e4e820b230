"""Every sentence of ours that a caller or a model is told in a call: keys of an agent file.

An agent that speaks another language has all of them in it. Words in braces are filled in.
"""

from dataclasses import dataclass

from offhook.events.types import HandoffOutcome


@dataclass(frozen=True, slots=True)
class Phrases:
    """The sentences of one agent, in English where its file has none."""

    # --- what the caller hears ---

    still_there: str = "Are you still there?"
    """The question to a silent caller."""
    silent_goodbye: str = "I cannot hear you. Goodbye."
    """The goodbye to a silent caller."""
    time_up: str = "We have reached the end of our time. Goodbye."
    """The goodbye at the time limit."""
    one_moment: str = "One moment, please."
    """Said when a function takes more than 3 s."""
    transferring: str = "One moment, I am connecting you."
    """Said before the caller is transferred."""

    # --- what the agent is told in the caller's stead ---

    keys_pressed: str = "(The caller pressed {keys} on the keypad.)"
    """What the caller has entered."""
    keys_sent: str = "(The keys were pressed. Go on.)"
    """The keys of `send_digits` were pressed."""
    transfer_failed: str = (
        "(The transfer to {destination} did not work: {reason}."
        " Tell the caller, and go on helping.)"
    )
    """The caller is back; `{reason}` is one of the next six."""
    reason_busy: str = "the line is busy"
    """The line was busy."""
    reason_no_answer: str = "nobody answered"
    """It rang in vain."""
    reason_failed: str = "the number could not be reached"
    """The number does not exist, or the network failed."""
    reason_canceled: str = "it was called off"
    """The call was cancelled."""
    reason_declined: str = "they did not take the call"
    """A person who was asked first did not take the call."""
    reason_hung_up: str = "they hung up before the caller was there"
    """A person who was asked first took the call, and hung up."""

    # --- what a function is answered ---

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
    """What was asked for was done."""
    being_said: str = "it is being said"
    """The agent says what it was asked to say."""
    agent_told: str = "the agent was told"
    """The agent has got what it was to be told."""
    muted: str = "muted"
    """The caller hears nothing of the agent."""
    unmuted: str = "not muted"
    """The caller hears the agent again."""
    call_over: str = "the call is over"
    """The call was ended, or ended before it could be done."""
    call_ending: str = "the call is being ended, or its caller put through, already"
    """Last words are being said."""
    no_agent: str = "nobody talks with the agent at the moment"
    """The agent is not there yet, or the caller is not."""
    agent_gone: str = "the agent's leg was given up"
    """The agent's session ended before it could answer."""
    agent_silent: str = "Deepgram has not answered within 10 s"
    """Deepgram has not said whether it was done."""
    somebody_speaks: str = "somebody was speaking"
    """Something was not said because of that."""
    listen_first: str = "the caller is speaking; listen first"
    """Last words, or a prompt, were not said because of that."""
    called_off: str = "it was called off"
    """Nobody wants the call to end any more."""
    digits_asked: str = "digits are being asked for already"
    """One secret is asked for at a time."""
    digits_too_late: str = "the caller did not enter it in time"
    """A secret was not entered."""
    digits_cut_short: str = "the call is being ended, or its caller put through"
    """A secret was not entered before last words."""
    digits_called_off: str = "nobody waits for it"
    """A secret is not wanted any more."""


def fill(phrase: str, **values: str) -> str:
    """Return a phrase with its words in braces filled in; others stay as they are."""
    for name, value in values.items():
        phrase = phrase.replace(f"{{{name}}}", value)
    return phrase


def transfer_failed(phrases: Phrases, destination: str, outcome: HandoffOutcome) -> str:
    """Return what the agent is told of a transfer that came to nothing."""
    reasons: dict[HandoffOutcome, str] = {
        "busy": phrases.reason_busy,
        "no-answer": phrases.reason_no_answer,
        "failed": phrases.reason_failed,
        "canceled": phrases.reason_canceled,
        "declined": phrases.reason_declined,
        "hung-up": phrases.reason_hung_up,
    }
    return fill(phrases.transfer_failed, destination=destination, reason=reasons[outcome])
