from functools import partial
from itertools import product
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases import check_each

from offhook.errors import UserError
from offhook.outbound.contacts import ContactList, read


def reading(folder: Path, text: str | bytes) -> ContactList:
    path = folder / "people.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read(path)


def why(found: ContactList) -> dict[int, str]:
    return {row.line: row.why for row in found.bad}


def test_the_good_rows_are_rung_and_the_bad_ones_told_by_line(tmp_path: Path) -> None:
    found = reading(
        tmp_path,
        "number,consent,timezone,name\n"
        "+12025550101,yes,America/New_York,Ada\n"
        "12025550102,yes,,Bob\n"
        "+1202555,yes\n"
        "+12025550103,no,,Cleo\n"
        "+12025550104,yes,Mars/Olympus,Dan\n"
        ",yes,,Eve\n"
        "\n"
        "+1 (202) 555-0101,yes,,Ada again\n"
        "+12025550105,YES,,\n",
    )
    assert [(p.line, p.number, p.zone, dict(p.variables)) for p in found.people] == [
        (2, "+12025550101", "America/New_York", {"name": "Ada"}),
        (10, "+12025550105", None, {}),
    ]
    assert why(found) == {
        3: "its number does not begin with +, so its country is not known",
        4: "it has 2 cells, and the header 4",
        5: "its consent is not yes",
        6: "no time zone has that name; write one as Europe/Berlin",
        7: "it has no number",
        9: "its number is that of line 2",
    }


_SAME_NUMBER: Final = (
    ("+12025550101", "+12025550101"),
    ("+12025550101", "+1 (202) 555-0101"),
    ("+1-202-555-0101", "+12025550101"),
    ("+12025550101", "12025550101"),
    ("+12025550101", "0012025550101"),
    ("+12025550101", "011 1 202 555 0101"),
    ("+12025550101", "(202) 555-0101"),
    ("+12025550101", "555-0101"),
    ("+12025550101", "tel:+12025550101"),
    ("+12025550101", "\N{FULLWIDTH PLUS SIGN}１２０２５５５０１０１"),  # noqa: RUF001
    ("+442079460018", "+44 (0)20 7946 0018"),
    ("+4402079460018", "+442079460018"),
    ("+442079460018", "020 7946 0018"),
    ("+12025550101", "+12025550101 ext. 5"),
)
"""One number, as it is written in two rows."""


def test_the_strictest_row_wins_however_the_number_is_written(tmp_path: Path) -> None:
    cases = product(_SAME_NUMBER, ("no", "", "revoked", "yes?", "NO"), (True, False))
    check_each(partial(_check_strictest, tmp_path), ((*pair, *rest) for pair, *rest in cases))


def _check_strictest(folder: Path, asked: str, refused: str, consent: str, first: bool) -> None:
    rows = [f"{asked},yes", f"{refused},{consent}"]
    text = "\n".join(
        ["number,consent", *(rows if first else reversed(rows)), "+12025550199,yes", ""]
    )
    found = reading(folder, text)
    assert [person.number for person in found.people] == ["+12025550199"]
    line = 2 if first else 3
    assert why(found)[line] == f"line {5 - line} has its number too, and its consent is not yes"


def test_consent_is_taken_back_also_by_a_row_that_is_cut(tmp_path: Path) -> None:
    found = reading(
        tmp_path, "number,consent,name\n+12025550101,yes,Ada\n+12025550102,yes,B\n+12025550101,no\n"
    )
    assert [person.number for person in found.people] == ["+12025550102"]


def test_one_number_in_two_forms_is_rung_once(tmp_path: Path) -> None:
    found = reading(tmp_path, "number,consent\n+442079460018,yes\n+44 (0)20 7946 0018,yes\n")
    assert [person.line for person in found.people] == [2]
    assert why(found) == {3: "its number is that of line 2"}


def test_lines_are_those_of_the_file_also_behind_a_cell_of_two_lines(tmp_path: Path) -> None:
    found = reading(tmp_path, 'number,consent,name\n+12025550101,yes,"Ada\nLovelace"\nx,yes,B\n')
    assert found.people[0].variables == {"name": "Ada\nLovelace"}
    assert list(why(found)) == [4]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_as_spreadsheets_write_it(tmp_path: Path, delimiter: str) -> None:
    text = f"Number{delimiter}Consent{delimiter}name\r\n+12025550101{delimiter}Yes{delimiter}A\r\n"
    found = reading(tmp_path, b"\xef\xbb\xbf" + text.encode())
    assert [person.number for person in found.people] == ["+12025550101"]


def test_columns_that_can_fill_nothing_are_told(tmp_path: Path) -> None:
    found = reading(tmp_path, "number,consent,First name,token\n+12025550101,yes,A,B\n")
    assert found.unused == ("First name", "token")
    assert found.people[0].variables == {}


@pytest.mark.parametrize("text", ["number,name\n", "consent\n", "", "number,number,consent\n"])
def test_without_number_or_consent_it_is_no_list(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError, match="E-LIST-02"):
        reading(tmp_path, text)


@pytest.mark.parametrize("text", [b"number,consent\n\xff\xfe,yes\n", b'number,consent\n"+1,yes'])
def test_what_is_no_csv_in_utf8_is_told(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(UserError, match="E-LIST-01"):
        reading(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="E-LIST-01"):
        read(tmp_path / "nobody.csv")


@given(st.text(max_size=400))
def test_whatever_a_file_holds_no_line_is_rung_twice_or_lost(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.csv"
        path.write_bytes(b"number,consent\n" + text.encode("utf-8", "replace"))
        try:
            found = read(path)
        except UserError:
            return
        lines = [p.line for p in found.people] + [row.line for row in found.bad]
        assert len(lines) == len(set(lines))
        numbers = [p.number for p in found.people]
        assert len(numbers) == len(set(numbers))
