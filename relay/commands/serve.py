"""Runs `relay serve`: the daemon, from its configuration to its exit status."""

import os
from pathlib import Path

import structlog
import trio

from relay.alarm_clock import AlarmClock
from relay.config_file import load
from relay.daemon.daemon import run_daemon
from relay.daemon.garbage import quieten_garbage_collection
from relay.errors import ConfigError, StartFailed
from relay.log import open_log
from relay.metrics import Metrics
from relay.redaction import Redactor


def serve(config_file: Path) -> int:
    """Run until SIGTERM or SIGINT. Raises ConfigError when the configuration cannot be used."""
    config = load(config_file, os.environ)
    metrics, redactor = Metrics(), Redactor(config.secrets.values())
    logging, clock = config.logging, AlarmClock()
    quieten_garbage_collection()
    with open_log(redactor, level=logging.level, form=logging.format, on_drop=metrics.log_lines_dropped.inc):
        try:
            trio.run(run_daemon, config, metrics, redactor, config_file, clock=clock, instruments=[clock])
        except ConfigError as error:
            raise ConfigError(f"{config_file}: {error}") from None
        except StartFailed as error:
            structlog.get_logger(__name__).error("daemon.not_started", error=f"{config_file}: {error}")
            return 1
        except Exception:  # noqa: BLE001 - the last line of the log says why the daemon ended
            structlog.get_logger(__name__).exception("daemon.failed")
            return 1
    return 0
