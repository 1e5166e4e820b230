"""Funktionen des Agenten: was Offhook selbst kann, mit deutschen Namen und Beschreibungen."""

from typing import Annotated, Literal

from pydantic import Field

from offhook.tools import Call, tool


@tool(irreversible=True, repeatable=True)
async def auflegen(
    abschied: Annotated[str, Field(description="Ein Satz, mit dem das Gespräch endet.")],
    call: Call,
) -> str:
    """Beende das Gespräch. Der Abschied wird ganz gesagt, also verabschiede dich nicht vorher."""
    return await call.hang_up(abschied)


@tool(irreversible=True, repeatable=True)
async def verbinden(
    ziel: Literal["kollegin"],
    anliegen: Annotated[str, Field(max_length=400, description="Ein Satz, worum es geht.")],
    call: Call,
) -> str:
    """Verbinde mit der Kollegin am Empfang, die erst gefragt wird. Sag das vorher."""
    return await call.transfer(ziel, anliegen)


@tool(irreversible=True, finish_after_hangup=True)
async def nachricht(
    name: Annotated[str, Field(min_length=1, max_length=200, description="Von wem sie ist.")],
    text: Annotated[str, Field(min_length=1, max_length=4000, description="Im Wortlaut.")],
    call: Call,
) -> str:
    """Nimm eine Nachricht für die Praxis auf. Lies sie vorher noch einmal vor."""
    return await call.take_message(name, "", text)


@tool(irreversible=True, finish_after_hangup=True)
async def sms(
    text: Annotated[str, Field(min_length=1, max_length=1600, description="Der Wortlaut.")],
    call: Call,
) -> str:
    """Schick eine SMS an die Nummer, die gerade anruft."""
    return await call.send_text(text)


@tool(irreversible=True, repeatable=True)
async def tasten(
    ziffern: Annotated[str, Field(pattern=r"^[0-9*#wW]{1,32}$", description="Die Tasten.")],
    call: Call,
) -> str:
    """Drück Tasten in diesem Gespräch, wie im Menü einer Firma. Du hörst, was danach kommt."""
    return await call.send_digits(ziffern)
