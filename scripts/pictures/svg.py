"""A few shapes as SVG, with colours that are legible on a light and on a dark page."""

from html import escape
from typing import Final, Literal, TypeAlias

INK: Final = "#1f2933"
SOFT: Final = "#7b8794"
OURS: Final = "#0b6e4f"
LINE: Final = 18
"""Height of a line of text."""

_LABELS: Final = 'aria-labelledby="title desc" font-family="system-ui, sans-serif"'
_TIP: Final = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
    f' orient="auto"><path d="M0 0 8 4 0 8z" fill="{INK}"/></marker></defs>'
)

Anchor: TypeAlias = Literal["start", "middle", "end"]


def width_of(text: str, size: float = 13) -> float:
    """Return about how wide a text is, in a font without serifs."""
    narrow = sum(text.count(letter) for letter in "fijlrt.,:;!|'()[] ")
    return size * (0.58 * (len(text) - narrow) + 0.32 * narrow)


class Drawing:
    """An SVG document. Coordinates are pixels, from the top left."""

    def __init__(self, width: float, title: str, about: str) -> None:
        self._width = width
        self._head = (
            f'<title id="title">{escape(title)}</title><desc id="desc">{escape(about)}</desc>'
        )
        self._parts: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        anchor: Anchor = "middle",
        colour: str = INK,
        bold: bool = False,
        size: float = 13,
    ) -> None:
        """Write one line, whose baseline is at y."""
        weight = ' font-weight="600"' if bold else ""
        self._parts.append(
            f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}"'
            f' font-size="{size:g}"{weight}>{escape(words)}</text>'
        )

    def box(
        self, x: float, y: float, width: float, height: float, *, fill: str, edge: str = "none"
    ) -> None:
        """Draw a box with round corners."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"'
            f' fill="{fill}" stroke="{edge}"/>'
        )

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        *,
        colour: str = INK,
        dashed: bool = False,
        arrow: bool = False,
    ) -> None:
        """Draw a straight line, with an arrow at its end or without."""
        dashes = ' stroke-dasharray="4 4"' if dashed else ""
        tip = ' marker-end="url(#tip)"' if arrow else ""
        self._parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}"'
            f"{dashes}{tip}/>"
        )

    def bend(self, x: float, y: float, depth: float) -> None:
        """Draw an arrow that leaves to the right and comes back below."""
        self._parts.append(
            f'<path d="M{x:g} {y:g} h26 v{depth:g} h-24" fill="none" stroke="{INK}"'
            ' marker-end="url(#tip)"/>'
        )

    def document(self, height: float) -> str:
        """Return the whole document."""
        size = (
            f'viewBox="0 0 {self._width:g} {height:g}" width="{self._width:g}" height="{height:g}"'
        )
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" {_LABELS}>',
            self._head,
            _TIP,
            f'<rect width="{self._width:g}" height="{height:g}" rx="8" fill="#ffffff"/>',
            *self._parts,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"
