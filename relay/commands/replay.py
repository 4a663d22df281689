"""Runs `relay replay`: recorded calls again, as they were or with other settings."""

import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import structlog

from relay.commands import WrongUse
from relay.commands.report import record_keys
from relay.config import Config, ReconnectConfig
from relay.daemon.apology import load_apology
from relay.errors import CannotReplay, ConfigError, NotARecording
from relay.media.frames import Audio
from relay.record.event_log import printable
from relay.record.recorded_call import RecordedCall, read_file
from relay.record.verdict import clock
from relay.replay.changed_run import run_changed
from relay.replay.decisions import Difference, changes, count, differences
from relay.replay.exact_run import run_exactly, whole_steps
from relay.replay.settings import Changes, config_of, parse_changes
from relay.replay.stage import is_browser

KINDS = ("earlier", "later", "gone", "new", "other")


@dataclass(frozen=True)
class Replayed:
    """What came of one file. `speed`: how many times faster than real time one run was."""

    call_id: str
    decisions: int
    speed: float
    differences: Sequence[Difference]


def replay(files: Sequence[Path], texts: Sequence[str], config_file: Path, *, as_json: bool) -> int:
    """Print what came of each; 1 if a call that was not changed came out otherwise, or some cannot be replayed, which
    keeps no other from it.

    Raises ConfigError for a change that makes no sense, WrongUse where nothing can be replayed.
    """
    changed = parse_changes(texts)
    done: list[Replayed] = []
    refused: list[str] = []
    with _unlogged():
        for path in files:
            try:
                done.append(_replay(path, changed, config_file))
            except NotARecording as error:
                refused.append(str(error))
            except CannotReplay as error:
                refused.append(f"{path}: {error}")
            except OSError as error:
                refused.append(f"{path}: cannot be read: {error.strerror}")
            except (ConfigError, WrongUse):
                raise
            except Exception as error:  # noqa: BLE001 - whatever a file holds that no call does, others are replayed
                cause = _first_cause(error)
                refused.append(f"{path}: the replay failed: {type(cause).__name__}: {cause}")
    if not done:
        raise WrongUse(printable(refused[0]))
    for line in refused:
        click.echo(f"relay: {printable(line)}", err=True)
    if as_json:
        click.echo(json.dumps(_as_json(done, single=len(files) == 1)))
    else:
        for line in _shown(done, texts):
            click.echo(line)
    return int(bool(refused) or (not changed and any(it.differences for it in done)))


def _first_cause(error: Exception) -> BaseException:
    """What a nursery's group holds: the text of the group says nothing."""
    cause: BaseException = error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause


@contextmanager
def _unlogged() -> Iterator[None]:
    """The calls log nothing: they have been logged."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def _replay(path: Path, changed: Changes, config_file: Path) -> Replayed:
    call = read_file(path, record_keys([path], config_file))
    config = config_of(call.header, {})
    entries = call.entries if call.complete else whole_steps(call.entries)
    apology = _apology(config)
    began = time.perf_counter()
    if changed:
        found = run_changed(call.header, entries, config, apology)
    else:
        found = run_exactly(call.header, entries, config, apology)
    took_s = time.perf_counter() - began
    if changed:
        other = run_changed(call.header, entries, config_of(call.header, changed), apology)
        different = changes(found, other)
    else:
        different = differences(entries, found, browser=is_browser(call.header.call_sid))
    return Replayed(call.header.call_id, count(found), _length_s(call) / took_s, _from_start(call, different))


def _length_s(call: RecordedCall) -> float:
    return max((entry.at_s for entry in call.entries), default=0.0)


def _from_start(call: RecordedCall, found: Sequence[Difference]) -> list[Difference]:
    return [Difference(it.at_s - call.start_s, it.was, it.now, it.name, it.later_s) for it in found]


def _apology(config: Config) -> Audio:
    """The operator's may be on another machine: then a call that ended with it differs there."""
    try:
        return load_apology(config.reconnect)
    except ConfigError:
        return load_apology(ReconnectConfig())


def _as_json(done: Sequence[Replayed], *, single: bool) -> dict[str, Any]:
    if single:
        (it,) = done
        return {
            "identical": not it.differences,
            "decisions": it.decisions,
            "speed": round(it.speed, 1),
            "differences": [difference.as_json() for difference in it.differences],
        }
    return {
        "calls": len(done),
        "identical": sum(not it.differences for it in done),
        "differences": [
            {"call_id": it.call_id, **difference.as_json()} for it in done for difference in it.differences
        ],
    }


def _shown(done: Sequence[Replayed], texts: Sequence[str]) -> Iterator[str]:
    for it in done:
        what = f"{len(it.differences)} differ" if it.differences else "identical"
        yield f"{it.call_id}: {it.decisions} decisions, {what}; {it.speed:.0f} times faster than the call"
        if len(done) == 1 or not texts:
            for difference in it.differences:
                yield printable(_line(difference))
    if texts and len(done) > 1:
        yield from _table(done, texts)


def _line(it: Difference) -> str:
    moved = f" by {abs(it.later_s) * 1000:.0f} ms" if it.kind in {"earlier", "later"} else ""
    was = "" if it.was is None else f"  was {it.was}"
    now = "" if it.now is None else f"  is {it.now}"
    return f"{clock(it.at_s)}  {it.kind}{moved}{was}{now}"


def _table(done: Sequence[Replayed], texts: Sequence[str]) -> Iterator[str]:
    """How often each event would have been otherwise, in all calls; beside earlier and later, by how much."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    shifts: dict[tuple[str, str], list[float]] = defaultdict(list)
    for difference in (difference for it in done for difference in it.differences):
        counts[difference.name][difference.kind] += 1
        shifts[difference.name, difference.kind].append(abs(difference.later_s) * 1000)
    touched = sum(bool(it.differences) for it in done)
    yield f"with {', '.join(texts)}: {touched} of {len(done)} calls would have been otherwise"
    yield f"{'':24}" + "".join(f"{kind:>16}" for kind in KINDS)
    for name in sorted(counts):
        cells = [_cell(counts[name][kind], kind, shifts[name, kind]) for kind in KINDS]
        yield f"{name:24}" + "".join(f"{cell:>16}" for cell in cells)


def _cell(number: int, kind: str, shifts_ms: Sequence[float]) -> str:
    return f"{number} ({median(shifts_ms):.0f} ms)" if number and kind in {"earlier", "later"} else str(number)
