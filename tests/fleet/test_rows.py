"""The table of fleets has a place on its page."""

from bench.reliability import PAGE

from bench import fleet as table
from offhook.bench.report import rewrite


def test_the_table_has_a_place_on_its_page() -> None:
    page = PAGE.read_text("utf-8")
    text = table.markdown([["a case", "a bar", "1 of 1", "met"]], short=True)
    written = rewrite(page, text, begin=table.BEGIN, end=table.END)
    assert "| a case | a bar | 1 of 1 | met |" in written
