"""`relay lab` is a bad network between two programs."""

import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import click
import trio

from relay.commands import WrongUse
from relay.standin.lab import PROFILES, Schedule, open_lab, scheduled
from relay.standin.lab.lab import Happened


def lab(port: int, target: str, profile: str, seed: int, file: Path | None) -> int:
    """Run until SIGINT or SIGTERM, saying what happens and when.

    Raises WrongUse when an argument or the file is not good, or the port is taken.
    """
    address = _address(target)
    schedule = _schedule(profile, seed, file)
    try:
        trio.run(partial(_run, port, address, schedule))
    except OSError as error:
        raise WrongUse(f"--listen {port} cannot be listened on: {error.strerror}") from None
    return 0


async def _run(port: int, target: tuple[str, int], schedule: Schedule) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        await _run_until(signals, port, target, schedule)


async def _run_until(signals: AsyncIterator[int], port: int, target: tuple[str, int], schedule: Schedule) -> None:
    async with open_lab(target, schedule, port=port, tell=_say) as running:
        click.echo(f"lab at 127.0.0.1:{running.port} for {target[0]}:{target[1]}; Ctrl-C ends it")
        click.echo(f"{schedule.link}, {len(schedule.events)} events in {schedule.length_s:g} s, seed {schedule.seed}")
        await anext(signals)
        numbers = running.statistics()
    click.echo(
        f"{numbers.opened} connections, {numbers.refused} refused, "
        f"{numbers.up_bytes} bytes up, {numbers.down_bytes} bytes down"
    )


def _say(happened: Happened) -> None:
    click.echo(f"{happened.at_s:9.3f} s  {happened.what} ({happened.connections})")


def _address(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise WrongUse(f"--target {target}: must be HOST:PORT")
    return host.strip("[]"), int(port)


def _schedule(profile: str, seed: int, file: Path | None) -> Schedule:
    if profile not in PROFILES:
        raise WrongUse(f"--profile {profile}: must be one of {', '.join(PROFILES)}")
    try:
        if file is not None and file.exists():
            return Schedule.from_json(file.read_text(encoding="utf-8"))
        schedule = scheduled(profile, seed)
        if file is not None:
            file.write_text(schedule.to_json() + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise WrongUse(f"--schedule {file}: {error}") from None
    return schedule
