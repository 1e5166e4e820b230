"""`python -m offhook.bench.load SPEC`: started by the runner."""

import sys

import msgspec

from offhook.bench import child
from offhook.bench.load.messages import Spec
from offhook.bench.load.process import obey

if __name__ == "__main__":
    child.run(obey(msgspec.json.decode(sys.argv[1], type=Spec)))
