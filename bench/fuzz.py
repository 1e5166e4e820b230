"""Coverage-guided fuzzing of every parser: `python -m bench.fuzz [TARGET …] --seconds 60`.

Each target runs in a process of its own, which Atheris ends. What breaks a parser is kept in
tests/wire/crashes, and `make test` replays it from then on. Without Atheris, which has no wheel for
some machines, it says so, and exits with 2: nothing is judged.
"""

import argparse
import hashlib
import importlib
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 60
INPUT_MAX = 4096
HANG_S = 20

NOT_JUDGED = 2
"""Exit code of a run that has fuzzed nothing."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="of tests/fuzzing.py; all of them by default")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="for each target")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--corpus", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        print("not judged: Atheris is not installed here, so that no parser is fuzzed.")
        return NOT_JUDGED
    if asked.one is not None:
        return one(asked.one, asked.seconds, asked.corpus)
    names = asked.targets or sorted(_targets())
    broken = [name for name in names if not fuzz(name, asked.seconds)]
    if broken:
        print(f"broken: {', '.join(broken)}. What did it is in tests/wire/crashes.")
    return len(broken) > 0


def fuzz(name: str, seconds: int) -> bool:
    """Whether that target held out."""
    with tempfile.TemporaryDirectory() as work:
        corpus = Path(work) / "corpus"
        corpus.mkdir()
        command = [sys.executable, "-m", "bench.fuzz", "--one", name, "--corpus", str(corpus)]
        ran = subprocess.run(
            [*command, "--seconds", str(seconds)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        done = [line for line in ran.stderr.splitlines() if line.startswith("Done ")]
        print(f"{name}: {done[-1] if done else f'exit {ran.returncode}'}", flush=True)
        found = [path for path in corpus.iterdir() if path.name.startswith("found-")]
        for path in found:
            data = path.read_bytes()
            kept = ROOT / "tests/wire/crashes" / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            kept.write_bytes(data)
            print(f"  kept as {kept.relative_to(ROOT)}")
        if ran.returncode:
            print("  " + "\n  ".join(ran.stdout.splitlines()[-30:]))
        return ran.returncode == 0 and not found


def one(name: str, seconds: int, corpus: str) -> int:
    """Fuzz one target in this process, which ends with it."""
    atheris = importlib.import_module("atheris")

    with atheris.instrument_imports(include=["offhook", "ruamel"], enable_loader_override=False):
        from tests.fuzzing import TARGETS
    target = TARGETS[name]
    seeds = Path(corpus)
    for number, seed in enumerate(target.seeds):
        (seeds / f"seed-{number}").write_bytes(seed)
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-max_len={INPUT_MAX}",
            f"-timeout={HANG_S}",
            f"-artifact_prefix={seeds}/found-",
            "-rss_limit_mb=2048",
            str(seeds),
        ],
        target.run,
    )
    atheris.Fuzz()
    return 0


def _targets() -> list[str]:
    from tests.fuzzing import TARGETS

    return list(TARGETS)


if __name__ == "__main__":
    sys.exit(main())
