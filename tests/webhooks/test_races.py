"""One stream and one ending for each call, whoever claims it and whatever is repeated."""

from tests.races import ENDS, Races
from tests.whole_server import whole_server


async def test_a_call_has_one_stream_in_every_race() -> None:
    """Short form of bench/races.py, which runs 10,000."""
    async with whole_server() as h:
        races = Races(h, seed=1)
        await races.run(24)
        assert races.wrong == []
        assert races.done.total() == 24
        assert races.streams > 48
        assert set(ENDS) <= {end.partition(":")[0] for end in races.done}
