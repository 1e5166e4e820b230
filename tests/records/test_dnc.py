"""Numbers that are never to be rung, on both databases."""

from sqlalchemy import Engine
from tests.records.test_store import WALL, apply, began, lines

from offhook.events.types import DoNotCall
from offhook.records import dnc
from offhook.records.dnc import DoNotCallEntry

NUMBER = "+12025550142"


def test_a_number_is_barred_once_and_until_it_is_no_longer(engine: Engine) -> None:
    first = DoNotCallEntry(NUMBER, 1000, "wrote to us", None)
    with engine.begin() as connection:
        assert not dnc.is_barred(connection, NUMBER)
        assert dnc.bar(connection, first)
        assert not dnc.bar(connection, DoNotCallEntry(NUMBER, 2000, "again", "CA1"))
        assert dnc.bar(connection, DoNotCallEntry("+12025550143", 3000, "x", None))
    with engine.begin() as connection:
        assert dnc.is_barred(connection, NUMBER)
        assert not dnc.is_barred(connection, NUMBER[:-1])
        assert [one.number for one in dnc.barred(connection)] == ["+12025550143", NUMBER]
        assert dnc.barred(connection)[1] == first
        assert dnc.unbar(connection, NUMBER)
        assert not dnc.unbar(connection, NUMBER)
        assert not dnc.is_barred(connection, NUMBER)


def test_who_asks_in_a_call_is_barred_whatever_comes_twice(engine: Engine) -> None:
    asked = lines((0, began()), (500, DoNotCall(NUMBER)), (900, DoNotCall(NUMBER)))
    apply(engine, asked)
    apply(engine, lines((700, DoNotCall(NUMBER)), call_sid="CA2", first=9))
    with engine.connect() as connection:
        assert dnc.barred(connection) == [DoNotCallEntry(NUMBER, WALL + 500, dnc.ASKED, "CA1")]
