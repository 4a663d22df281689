"""Writes the cases as WAV files for any other detector, and reads what it decided. `docs/evaluation.md` is its page."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from relay.errors import ConfigError
from relay.standin.sound import write_wav
from relay.vad.cases import Case
from relay.vad.evaluation import Trial
from relay.vad.judging import Judged


class CaseDecisions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a detector declared starts, in seconds of the case's file.

    A detector with a single stage leaves `pauses_s` out: its cuts are its pauses too.
    """

    cuts_s: list[float]
    pauses_s: list[float] | None = None


class Decisions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file of decisions: by the name of the case, which is that of its file without the suffix."""

    detector: str
    cases: dict[str, CaseDecisions]


def write_cases(cases: Sequence[Case], folder: Path) -> Iterator[Path]:
    """Write each case as it reaches the relay; return the files as they are written. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        sound = case.sound()
        path = folder / f"{case.name}.wav"
        write_wav(path, sound.rate_hz, sound.samples)
        yield path


def read_decisions(path: Path) -> Decisions:
    """Read a file of decisions. Raises `ConfigError` if it cannot be read or makes no sense."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Decisions)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: {error}") from error


def judged_by(decisions: Decisions, cases: Sequence[Case]) -> list[Judged]:
    """Return what was decided about each case. Raises `ConfigError` if nothing is said of one."""
    missing = [case.name for case in cases if case.name not in decisions.cases]
    if missing:
        raise ConfigError(f"{len(missing)} of {len(cases)} cases have no decisions, the first is {missing[0]}")
    return [_judged(decisions.cases[case.name], case) for case in cases]


def _judged(decided: CaseDecisions, case: Case) -> Judged:
    def trial(starts_s: Sequence[float]) -> Trial:
        return case.trial([at * 1000 for at in sorted(starts_s)])

    return Judged(case, trial(decided.cuts_s if decided.pauses_s is None else decided.pauses_s), trial(decided.cuts_s))
