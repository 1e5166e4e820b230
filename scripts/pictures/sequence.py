"""A sequence diagram: who sends what to whom, from top to bottom."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from scripts.pictures.svg import INK, LINE, OURS, SOFT, Drawing, width_of

MARGIN: Final = 20
HEAD: Final = 34
STEP: Final = 34


@dataclass(frozen=True, slots=True)
class Says:
    """A message from one to another, or to oneself. A dashed one repeats."""

    sender: str
    to: str
    words: str
    repeats: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a part of the story, with a heading."""

    words: str


Step: TypeAlias = Says | Part


def drawn(title: str, about: str, who: Sequence[str], steps: Sequence[Step], *, ours: str) -> str:
    """Return the diagram as SVG. Participants whose names begin with `ours` are coloured."""
    places = _places(who, steps)
    width = places[who[-1]] + max(_half(who[-1]), _overhang(who[-1], steps)) + MARGIN
    bottom = MARGIN + HEAD + sum(map(_height, steps)) + 12
    drawing = Drawing(width, title, about)
    for name in who:
        x, half = places[name], _half(name)
        is_ours = name.startswith(ours)
        drawing.line(x, MARGIN + HEAD, x, bottom, colour=SOFT, dashed=True)
        drawing.box(x - half, MARGIN, 2 * half, HEAD, fill=OURS if is_ours else "#e4e7eb")
        drawing.text(x, MARGIN + 22, name, bold=True, colour="#ffffff" if is_ours else INK)
    y = float(MARGIN + HEAD)
    for step in steps:
        y += _height(step)
        if isinstance(step, Part):
            drawing.box(MARGIN / 2, y - 21, width - MARGIN, 24, fill="#f0f4f8")
            drawing.text(MARGIN, y - 5, step.words, anchor="start", bold=True, colour=OURS)
        else:
            _message(drawing, places, step, y)
    return drawing.document(bottom + MARGIN / 2)


def _message(drawing: Drawing, places: dict[str, float], step: Says, y: float) -> None:
    start, end = places[step.sender], places[step.to]
    if start == end:
        drawing.bend(start, y - 10, 10)
        drawing.text(start + 34, y - 1, step.words, anchor="start")
        return
    middle, half = (start + end) / 2, width_of(step.words) / 2 + 4
    drawing.box(middle - half, y - LINE - 1, 2 * half, LINE - 3, fill="#ffffff")
    drawing.text(middle, y - 7, step.words)
    drawing.line(start, y, end, y, dashed=step.repeats, arrow=True)


def _half(name: str) -> float:
    """Return half the width of a participant's box, whose text is bold."""
    return width_of(name) * 0.56 + 12


def _height(step: Step) -> float:
    return STEP + 6 if isinstance(step, Part) else STEP


def _places(who: Sequence[str], steps: Sequence[Step]) -> dict[str, float]:
    """Return where the lines of the participants are: as far apart as their messages need."""
    places = {who[0]: MARGIN + _half(who[0])}
    for index in range(1, len(who)):
        x = places[who[index - 1]] + 30 + _half(who[index - 1]) + _half(who[index])
        for step in steps:
            if isinstance(step, Says):
                ends = sorted((who.index(step.sender), who.index(step.to)))
                if ends[1] == index and ends[0] < index:
                    x = max(x, places[who[ends[0]]] + width_of(step.words) + 34)
                elif ends == [index - 1, index - 1]:
                    x = max(x, places[who[index - 1]] + width_of(step.words) + 54)
        places[who[index]] = x
    return places


def _overhang(name: str, steps: Sequence[Step]) -> float:
    own = [step for step in steps if isinstance(step, Says) and step.sender == step.to == name]
    return max((width_of(step.words) + 44 for step in own), default=0)
