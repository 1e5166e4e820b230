"""Reading of YAML and JSON files. Every mistake is reported with file, line and column.

    document = yamlfile.read(Path("offhook.yaml"))
    options = yamlfile.validate(Options, document)

`read` gives plain values: dict, list, str, int, float, bool and None, as JSON has them. A date
stays text; YAML is 1.2, so `on` and `yes` are text too and `+15551234567` is an integer.
`validate` makes a pydantic model of them, or a InvalidFileError with one Finding for each mistake.
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import pydantic
from pydantic_core import ErrorDetails, PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from offhook.errors import UserError
from offhook.text.model_keys import DEPTH_MAX, homes, keys_at
from offhook.text.model_keys import Loc as Loc  # part of this interface, too
from offhook.text.spelling import meant_key

Model = TypeVar("Model", bound=pydantic.BaseModel)
T = TypeVar("T")

_TAG: Final = "tag:yaml.org,2002:"
_CONSTRUCTED: Final = frozenset(_TAG + name for name in ("int", "float", "bool", "null"))
_TEXT: Final = frozenset(_TAG + name for name in ("str", "timestamp"))


SIZE_MAX: Final = 1024 * 1024
"""Bytes of a file: our own largest examples have some 20 KB."""

VALUES_MAX: Final = 50_000
"""Values of a file with its aliases expanded: 350 bytes of aliases can stand for millions."""

_SMALLER: Final = "Make it smaller, with fewer aliases (*name) and fewer levels."

_QUOTES: Final = "Put a text that begins with {{ in quotes."


@dataclass(frozen=True, order=True, slots=True)
class Place:
    """A point in a file. Lines and columns count from 1.

    Line 0 is of a variable of the environment, whose name is in place of the path.
    """

    path: Path
    line: int
    column: int

    def __str__(self) -> str:
        if self.line == 0:
            return f"{self.path}:"
        return f"{self.path}:{self.line}:{self.column}"


def variable_place(name: str) -> Place:
    """Return the place of what a variable of the environment has set."""
    return Place(Path(name), 0, 0)


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding about a file: an `error` forbids its use, a `remark` does not.

    A `mistake` is probably one, such as the name of a voice that looks misspelt: `offhook check`
    counts it as an error, and a server starts all the same, for only the vendor knows all names.
    `text` says what is the matter and why, `fix` what to change. `place` is None for settings
    that did not come from a file.
    """

    level: Literal["error", "mistake", "remark"]
    text: str
    fix: str
    place: Place | None = None

    def __str__(self) -> str:
        return f"{self.place} {self.text}" if self.place else self.text


class InvalidFileError(UserError):
    """Error: a file cannot be used. Its findings are every error and every remark."""

    def __init__(self, code: str, findings: Sequence[Finding]) -> None:
        errors = [finding for finding in findings if finding.level == "error"]
        if len(errors) == 1:
            super().__init__(code, str(errors[0]), errors[0].fix)
        else:
            lines = "".join(f"\n  {error} {error.fix}" for error in errors)
            super().__init__(code, f"{len(errors)} mistakes:{lines}", "Correct these lines.")
        self.findings = tuple(findings)


class Collected:
    """Errors of checks that do not depend on each other, which are reported together."""

    def __init__(self) -> None:
        self.code = ""
        """Code of the first error; empty without errors."""
        self.findings: list[Finding] = []

    def add(self, code: str, findings: Iterable[Finding]) -> None:
        """Add the findings of a check, of which one at least is an error, if there are any."""
        found = list(findings)
        if found:
            self.code = self.code or code
            self.findings += found

    def attempt(self, check: Callable[[], T]) -> T | None:
        """Return what `check` returns; None if it raises a UserError, which is added."""
        try:
            return check()
        except InvalidFileError as bad:
            self.add(bad.code, bad.findings)
        except UserError as error:
            self.add(error.code, [Finding("error", error.what, error.fix)])
        return None

    def raise_errors(self, remarks: Iterable[Finding] = ()) -> None:
        """Raise InvalidFileError with every finding and `remarks`, if there is an error."""
        if self.code:
            raise InvalidFileError(self.code, [*self.findings, *remarks])


class Document:
    """The values of a file, and the place of each."""

    def __init__(self, path: Path, text: str = "") -> None:
        self.path = path
        self.value: Any = None
        self.text: Final = text
        self._values: dict[Loc, Place] = {(): Place(path, 1, 1)}
        self._keys: dict[Loc, Place] = {}

    def place(self, loc: Iterable[str | int], *, key: bool = False) -> Place:
        """Return where the value at `loc` begins; with `key`, where its key does.

        Steps that the file does not have are passed over: pydantic names the members of a union
        in its locations, and what is missing is missing from the last step that is there.
        """
        found: Loc = ()
        for step in loc:
            if (*found, step) in self._values:
                found = (*found, step)
        return self._keys.get(found, self._values[found]) if key else self._values[found]

    def has(self, loc: Loc) -> bool:
        """Return whether there is a value at `loc`."""
        value = self.value
        for step in loc:
            if not isinstance(value, dict) or step not in value:
                return False
            value = value[step]
        return True

    def override(self, loc: Loc, value: Any, variable: str) -> None:
        """Replace the value at `loc` by that of a variable of the environment, its new place.

        What the file has in place of a heading stays: it is a mistake of its own.
        """
        place = variable_place(variable)
        above = self.value = {} if self.value is None else self.value
        for depth, step in enumerate(loc[:-1], 1):
            if not isinstance(above, dict):
                return
            if above.get(step) is None:
                above[step] = {}
                self._values[loc[:depth]] = place
            above = above[step]
        if isinstance(above, dict):
            above[loc[-1]] = value
            for places in (self._values, self._keys):
                for one in [one for one in places if one[: len(loc)] == loc]:
                    del places[one]
                places[loc] = place

    def place_within(self, loc: Iterable[str | int], part: str) -> Place:
        """Return where `part` of the text at `loc` is written, else where the text begins."""
        begin = self.place(loc)
        lines = self.text.splitlines()[begin.line - 1 :]
        for number, line in enumerate(lines, begin.line):
            column = line.find(part, begin.column - 1 if number == begin.line else 0)
            if column >= 0:
                return Place(self.path, number, column + 1)
        return begin


def read(path: Path) -> Document:
    """Return the file at `path`.

    Raises UserError E-YAML-01 (unreadable) or InvalidFileError E-YAML-02 (syntax).
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise UserError(
            "E-YAML-01",
            f"{path} cannot be read: {error.strerror or error}.",
            "Check the path and the file's permissions.",
        ) from None
    except UnicodeDecodeError as error:
        line = path.read_bytes().count(b"\n", 0, error.start) + 1
        raise _syntax(Place(path, line, 1), "this is not UTF-8 text") from None
    return parse(text, path)


def parse(text: str, path: Path) -> Document:
    """Return a document of `text` as the content of the file at `path`; raises as `read` does."""
    if len(text) > SIZE_MAX:
        raise _syntax(Place(path, 1, 1), f"it has more than {SIZE_MAX:,} characters", _SMALLER)
    document = Document(path, text)
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
        if root is not None:
            document.value = _Builder(yaml, document).build(root, ())
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = Place(path, mark.line + 1, mark.column + 1) if mark else Place(path, 1, 1)
        what = ", ".join(filter(None, (error.context, error.problem)))
        if error.context == "while scanning a simple key":
            fix = "If this was pasted, begin it on the line of its key, or indent all of it."
            raise _syntax(where, what, fix) from None
        if "{{" in "".join(text.splitlines()[where.line - 1 : where.line]):
            raise _syntax(where, what, _QUOTES) from None
        raise _syntax(where, what or "this is not YAML") from None
    except YAMLError as error:
        # A character that YAML does not allow. The error knows its position, not its line.
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise _syntax(Place(path, line, 1), "a control character stands here") from None
    except RecursionError:
        raise _syntax(Place(path, 1, 1), "it is nested too deeply, or within itself") from None
    return document


def _syntax(place: Place, what: str, fix: str = "Correct this line.") -> InvalidFileError:
    finding = Finding("error", f"Not valid YAML: {what}.", fix, place)
    return InvalidFileError("E-YAML-02", [finding])


class _Builder:
    """Builder of plain values from YAML nodes, which notes the place of each."""

    def __init__(self, yaml: YAML, document: Document) -> None:
        self._yaml = yaml
        self._document = document
        self._built = 0

    def build(self, node: Node, loc: Loc) -> Any:
        self._count(node)
        if len(loc) > DEPTH_MAX:
            what = f"more than {DEPTH_MAX} levels are nested here"
            raise _syntax(self._place(node), what, _SMALLER)
        self._document._values[loc] = self._place(node)
        if isinstance(node, MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*loc, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _count(self, node: Node) -> None:
        self._built += 1
        if self._built > VALUES_MAX:
            what = f"with its aliases this is more than {VALUES_MAX:,} values"
            raise _syntax(self._place(node), what, _SMALLER)

    def _scalar(self, node: Node) -> Any:
        if node.tag in _CONSTRUCTED:
            try:
                return self._yaml.constructor.construct_object(node)
            except ValueError:
                raise _syntax(self._place(node), "this number is too long") from None
        if node.tag in _TEXT:
            # JSON writes what lies beyond 16 bits as two escapes; YAML leaves them two halves.
            halves = node.value.encode("utf-16", "surrogatepass")
            return halves.decode("utf-16", "replace")
        raise _syntax(self._place(node), f"{node.tag} cannot stand here")

    def _mapping(self, node: MappingNode, loc: Loc) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key_node, value_node in self._pairs(node):
            key = self._scalar(key_node)
            where = (*loc, key)
            self._document._keys[where] = self._place(key_node)
            mapping[key] = self.build(value_node, where)
        return mapping

    def _pairs(self, node: MappingNode) -> list[tuple[Node, Node]]:
        """Return the pairs written in a mapping, then the others that `<<` merges into it."""
        written: dict[str, Node] = {}
        merged: list[Node] = []
        pairs: list[tuple[Node, Node]] = []
        for key, value in node.value:
            self._count(key)
            if key.tag == _TAG + "merge":
                merged += value.value if isinstance(value, SequenceNode) else [value]
                continue
            if not isinstance(key, ScalarNode):
                fix = _QUOTES if isinstance(key, MappingNode) else "Correct this line."
                raise _syntax(self._place(key), "a key must be a word or text", fix)
            if key.value in written:
                line = self._place(written[key.value]).line
                raise _syntax(self._place(key), f'"{key.value}" stands here and in line {line}')
            written[key.value] = key
            pairs.append((key, value))
        for source in merged:
            if not isinstance(source, MappingNode):
                raise _syntax(self._place(source), "only a mapping can be merged with <<")
            for key, value in self._pairs(source):
                if key.value not in written:
                    written[key.value] = key
                    pairs.append((key, value))
        return pairs

    def _place(self, node: Node) -> Place:
        mark = node.start_mark
        return Place(self._document.path, mark.line + 1, mark.column + 1)


# --- Models --------------------------------------------------------------------------------------


def refuse(text: str, fix: str) -> PydanticCustomError:
    """Return the error that a pydantic validator raises to refuse a value with its own words."""
    return PydanticCustomError("refused", "{text}", {"text": text, "fix": fix})


def validate(model: type[Model], document: Document, loc: Loc = ()) -> Model:
    """Return the part of `document` at `loc` as a `model`.

    Raises InvalidFileError, naming every mistake: E-YAML-03, or E-CFG-02 when all of them are of
    the environment.

    Values are never quoted: one of them may be a secret.
    """
    value = document.value
    for step in loc:
        value = value[step]
    made, details = _made(model, value)
    if made is None:
        findings = _findings(model, document, loc, details)
        raise InvalidFileError(_code(findings), findings)
    return made


def validate_rest(model: type[Model], document: Document, found: Collected) -> Model | None:
    """Return what remains of `document` without the keys at its top that have a mistake.

    The mistakes are added to `found`, so that the rest can be checked too; None if it cannot.
    """
    value = document.value
    made, details = _made(model, value)
    findings = _findings(model, document, (), details)
    found.add(_code(findings), findings)
    while made is None and isinstance(value, dict):
        wrong = {detail["loc"][0] for detail in details if detail["loc"]}
        rest = {key: inner for key, inner in value.items() if key not in wrong}
        if len(rest) == len(value):
            break
        value = rest
        made, details = _made(model, value)
    return made


def _code(findings: Iterable[Finding]) -> str:
    """Return E-YAML-03 for mistakes in a file, E-CFG-02 when all are of the environment."""
    in_file = any(finding.place is None or finding.place.line for finding in findings)
    return "E-YAML-03" if in_file else "E-CFG-02"


def _made(model: type[Model], value: Any) -> tuple[Model | None, list[ErrorDetails]]:
    """Return a value as a `model`, or the errors that prevent it."""
    try:
        return model.model_validate({} if value is None else value), []
    except pydantic.ValidationError as error:
        return None, error.errors(include_url=False, include_input=False)


def _findings(
    model: type[pydantic.BaseModel], document: Document, loc: Loc, details: list[ErrorDetails]
) -> list[Finding]:
    details.sort(key=lambda detail: document.place((*loc, *detail["loc"])))
    return [_finding(model, document, loc, detail) for detail in details]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` was probably meant to be."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the fix for an unknown word: the nearest known one, else `otherwise` or all known."""
    known = sorted(known)
    close = nearest(word, known)
    if close is not None:
        return f'Did you mean "{close}"?'
    return otherwise or f"Known here: {', '.join(known)}."


def _finding(
    model: type[pydantic.BaseModel], document: Document, base: Loc, detail: ErrorDetails
) -> Finding:
    loc = detail["loc"]
    # pydantic adds "[key]" to the way to a value when it is the key that is wrong.
    place = document.place((*base, *loc), key=loc[-1:] == ("[key]",))
    context = detail.get("ctx", {})
    if detail["type"] == "extra_forbidden":
        fix = _fix_of_key(str(loc[-1]), model, loc[:-1])
        place = document.place((*base, *loc), key=True)
        return Finding("error", f'"{loc[-1]}" is not known here.', fix, place)
    if detail["type"] == "missing":
        text = f'"{loc[-1]}" is missing here.'
        return Finding("error", text, f'Add "{loc[-1]}".', place)
    if detail["type"] == "refused":
        return Finding("error", context["text"], context["fix"], place)
    name = next((f'"{step}"' for step in reversed(loc) if isinstance(step, str)), "This")
    if detail["type"] in ("model_type", "dict_type"):
        return Finding("error", f"{name} must be a mapping.", "Write keys and values.", place)
    message = detail["msg"].removeprefix("Value error, ")
    text = f"{name} is wrong: {message[:1].lower()}{message[1:]}."
    return Finding("error", text, "Correct this value.", place)


def _fix_of_key(key: str, model: type[pydantic.BaseModel], loc: Loc) -> str:
    """Return the fix for an unknown key: one that is known there, or the place where it is known.

    A key of another place is told if it has one place alone, and nothing here is more alike.
    """
    here = keys_at(model, loc)
    close = meant_key(key, here)
    if close is None:
        places = homes(model)
        elsewhere = key if key in places else None
        if elsewhere is None and nearest(key, here) is None:
            elsewhere = meant_key(key, places)
        if elsewhere is not None and places[elsewhere] != loc:
            under = ".".join(map(str, places[elsewhere])) or "the top of the file"
            return f'Did you mean "{elsewhere}", under "{under}"?'
    return f'Did you mean "{close}"?' if close is not None else did_you_mean(key, here)
