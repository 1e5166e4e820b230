"""What the benches of live calls make of a delay: whose it is, the server's or a late load's."""

import math

from bench.attack import AT_ONCE, HALF_OPEN, LATE_MS, P99_MS, Judged
from bench.hammer import ALLOWED_MS, LOAD_LATE_MS, Beside
from bench.rush import Delay, Rush, Tried

from offhook.bench.load.messages import Measured


def test_a_delay_within_the_bar_is_met_whatever_the_load_did() -> None:
    assert Judged("odd paths", before=0.3, during=P99_MS - 0.1, load_late=50.0).verdict is True
    assert Delay("after it", P99_MS - 0.1, load_late=50.0).verdict is True


def test_a_delay_above_the_bar_under_a_load_in_time_is_missed() -> None:
    assert Judged("odd paths", before=4.9, during=P99_MS, load_late=LATE_MS / 2).verdict is False
    assert Delay("after it", P99_MS, load_late=LATE_MS / 2).verdict is False


def test_a_load_that_was_late_meets_no_bar_that_it_missed() -> None:
    assert Judged("odd paths", before=4.0, during=P99_MS, load_late=LATE_MS).verdict is None
    assert Judged("odd paths", before=0.3, during=8.9, load_late=LATE_MS).verdict is None
    assert Delay("after it", 8.9, load_late=LATE_MS).verdict is None


def test_beside_functions_the_delay_itself_is_judged_unless_the_load_was_late() -> None:
    assert Beside(ALLOWED_MS, load_late=50.0).verdict is True
    assert Beside(ALLOWED_MS + 0.1, load_late=LOAD_LATE_MS).verdict is False
    assert Beside(ALLOWED_MS + 0.1, load_late=LOAD_LATE_MS + 0.1).verdict is None
    assert Beside(math.inf, load_late=0.0).verdict is False


def test_fewer_half_open_sockets_than_the_row_says_are_not_judged() -> None:
    count = AT_ONCE[HALF_OPEN]
    few = Judged(HALF_OPEN, before=0.3, during=0.4, load_late=0.1, at_once=count - 1)
    assert few.verdict is None
    assert few._replace(at_once=count).verdict is True
    assert few._replace(at_once=count, during=P99_MS).verdict is False


def test_a_crowd_that_took_longer_than_a_second_is_not_judged() -> None:
    quick = Measured(down=[10**6], late=[1000])
    rush = Rush(asked_s=0.95, delay_ms=1.0, late_ms=0.1)
    tried = Tried("say", rush, quick, quick, quick)
    assert tried.unjudged(1.0) == []
    assert tried.unjudged(0.9) == ["say: the crowd took 0.95 s to ask"]
