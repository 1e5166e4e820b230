"""The front desk that Offhook comes with, read once for all tests."""

from typing import Final

from offhook.testing.simulator.dialogue import file

DESK: Final = file.front_desk()
