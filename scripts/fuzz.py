"""Feeds every parser that faces the network with input that a fuzzer makes, guided by what their code does with it.

    scripts/fuzz.py MINUTES [PARSER]

MINUTES are for all parsers together. What a parser breaks on is kept in the folder `fuzz`, beside what was found to be
of interest, where the next run goes on. The status is 1 if there was any.
"""

import os
import subprocess
import sys
from pathlib import Path

import atheris

FOLDER = Path("fuzz")
INPUT_MAX_BYTES = 4096
INPUT_TIMEOUT_S = 5
MEMORY_MAX_MB = 1024


def fuzz(name: str, seconds: int) -> None:
    """Never returns: the fuzzer ends the process."""
    with atheris.instrument_imports(include=["relay", "h11", "wsproto"]):
        from tests.support.parsers import PARSERS
    folder = FOLDER / name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(PARSERS[name].seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    limits = [
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_MAX_BYTES}",
        f"-timeout={INPUT_TIMEOUT_S}",
        f"-rss_limit_mb={MEMORY_MAX_MB}",
        f"-artifact_prefix={folder}/broken-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *limits, str(folder)], PARSERS[name])
    atheris.Fuzz()


def main() -> None:
    minutes = float(sys.argv[1])
    if sys.argv[2:]:
        fuzz(sys.argv[2], round(minutes * 60))
    from tests.support.parsers import PARSERS  # not before: what the fuzzer is to follow must be imported by it

    names = list(PARSERS)
    broken = [name for name in names if _fuzz_apart(name, minutes / len(names)) != 0]
    print(f"broken: {', '.join(broken)}" if broken else f"{len(names)} parsers, none broken")
    sys.exit(bool(broken))


def _fuzz_apart(name: str, minutes: float) -> int:
    """In a process of its own, because the fuzzer ends it. Its report is shown when it found something."""
    command = [sys.executable, sys.argv[0], f"{minutes}", name]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    runs = next((line.split()[-1] for line in done.stderr.splitlines() if "number_of_executed_units" in line), "?")
    print(f"{name}: {runs} inputs, {'broken' if done.returncode else 'good'}", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr[-8000:])
    return done.returncode


if __name__ == "__main__":
    main()
