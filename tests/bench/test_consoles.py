"""What the bench of open consoles says of pages that did not get everything."""

from bench.consoles import Page, missing


def test_pages_that_fell_behind_spoil_a_round() -> None:
    assert missing([30, 30], 45, 0, 5.0) == []
    assert missing([30, 29], 45, 0, 5.0) == ["the pages got 29 to 30 events"]
    assert missing([0, 0], 45, 0, 5.0) == ["the pages got 0 to 0 events"]
    assert missing([30, 30], 35, 0, 5.0) == ["the listener got 35 messages in 5.0 s"]
    assert missing([30, 30], 45, 1, 5.0) == ["1 consoles ended early"]


def test_a_page_counts_whole_events_and_knows_the_last_one() -> None:
    page = Page()
    page.take(b"id: 7-1\nevent: call\ndata: {}\n\nid: 7-2\nevent: call\ndata: {}\n\n")
    page.take(b": keep\n\n")
    assert (page.events, page.last) == (2, b"7-2")
