"""Reads the configuration again at SIGHUP, which `systemctl reload` sends, and says what came of it.

| state     | meaning                                            | leaves when                                         |
|-----------|----------------------------------------------------|-----------------------------------------------------|
| waiting   | a configuration holds                              | SIGHUP -> reading                                   |
| reading   | the file, the secrets and what they name are read  | all are good -> waiting, and the new one holds;     |
|           | and judged; the old one still holds                | anything is wrong -> waiting, and the old one holds |

A signal that comes while reading is one more reading. systemd is told of both states (sd_notify(3), RELOADING=1).
"""

import os
import signal
import time
from functools import partial
from pathlib import Path

import structlog
import trio

from relay.config_file import load
from relay.daemon.descriptors import make_room
from relay.daemon.generations import Generations
from relay.daemon.notify import Notifier
from relay.errors import ConfigError
from relay.log import set_level
from relay.metrics import Metrics

log = structlog.get_logger(__name__)


class Reloader:
    """Has the file that the daemon was started with. `rejected` says that the last reload has changed nothing."""

    def __init__(self, config_file: Path, generations: Generations, metrics: Metrics) -> None:
        self._file = config_file
        self._generations = generations
        self._metrics = metrics
        self.rejected = False

    async def run(self, notifier: Notifier, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Reload at each SIGHUP, until cancelled."""
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            task_status.started()
            async for _ in signals:
                notifier.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
                await self.reload()
                notifier.send("READY=1")

    async def reload(self) -> None:
        """Read everything again. What is wrong with it is logged, and changes nothing."""
        rejected = True
        read = partial(load, self._file, os.environ)
        try:
            change = await self._generations.renew(await trio.to_thread.run_sync(read, abandon_on_cancel=True))
        except ConfigError as error:
            text = str(error).removeprefix(f"{self._file}: ")
            log.error("config.rejected", file=str(self._file), error=text)  # noqa: TRY400 - it is no fault of the program
        except Exception:
            log.exception("config.rejected", file=str(self._file), error="it could not be read")
        else:
            rejected = False
            set_level(self._generations.config.logging.level)
            make_room(self._generations.config)
            log.info(
                "config.reloaded",
                file=str(self._file),
                generation=self._generations.number,
                changed=change.changed,
                needs_restart=change.needs_restart,
            )
        self.rejected = rejected
        self._metrics.config_reloads.labels("rejected" if rejected else "ok").inc()
