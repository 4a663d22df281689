"""`relay demo` plays one whole call on this machine, shows it and judges it."""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import click
import trio

from relay.commands import WrongUse
from relay.demo import files
from relay.demo.screen import Screen, open_screen
from relay.demo.stage import Performance, perform
from relay.demo.verdict import STOOD_STILL_MAX_MS, DemoVerdict, judge


def demo(out: Path, *, as_json: bool) -> int:
    """Play the demo and leave its files in `out`; 1 if a promise was broken, 128 + n if ended by signal n.

    Raises WrongUse when nothing can be written to `out`.
    """
    try:
        files.prepare(out)
    except OSError as error:
        raise WrongUse(f"--out {out} cannot be written to: {error.strerror}") from None
    screen = open_screen(as_json=as_json)
    try:
        result = _play(screen)
        if isinstance(result, int):
            return 128 + result
        screen.say("comparing what was said with what was heard")
        verdict = judge(result.evidence)
        paths = files.write(out, result, verdict)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        raise WrongUse(f"--out {out}: {error}") from None
    if as_json:
        figures = {"bargein": dict(verdict.bargein), "reconnect": dict(verdict.reconnect)}
        click.echo(json.dumps({"ok": verdict.ok, **figures, "files": paths}))
        for promise in verdict.broken:
            click.echo(f"relay: broken: {promise.name}: {promise.figure}", err=True)
    else:
        _conclude(screen, verdict, paths, result.evidence.stood_still_ms)
    return 0 if verdict.ok else 1


def _play(screen: Screen) -> Performance | int:
    result: Performance | int = signal.SIGPIPE
    try:
        with screen:
            result = trio.run(_until_signal, screen)
    except* BrokenPipeError:
        # Nobody reads any more, and Python would complain about it once again when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return result


async def _until_signal(screen: Screen) -> Performance | int:
    """The performance, or the number of the signal that ended it; no process is left in either case."""
    result: Performance | int | None = None
    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:

            async def watch(task_status: trio.TaskStatus[None]) -> None:
                nonlocal result
                with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
                    task_status.started()
                    result = await anext(signals)
                    nursery.cancel_scope.cancel()

            await nursery.start(watch)
            screen.say("relay demo: starting the relay, the assistant and a telephone on this machine")
            performance = await perform(screen, Path(folder))
            result = performance
            nursery.cancel_scope.cancel()
    assert result is not None
    return result


def _conclude(screen: Screen, verdict: DemoVerdict, paths: dict[str, str], stood_still_ms: float) -> None:
    screen.say("")
    screen.judge(verdict)
    screen.say("")
    for name, path in paths.items():
        screen.say(f" {path}  {files.WHAT[name]}")
    screen.say("")
    names = ", ".join(promise.name for promise in verdict.broken)
    screen.say(
        f"Broken: {names}" if names else "No promise was broken." if verdict.unjudged else "Every promise was kept."
    )
    if verdict.unjudged or (names and stood_still_ms > STOOD_STILL_MAX_MS):
        screen.say(f"This machine was too busy: some of it stood still for up to {stood_still_ms:.0f} ms.")
    if "timeline" in paths:
        screen.say("")
        screen.say(f"See and hear the call: {Path(paths['timeline']).resolve().as_uri()}")
