"""The options that several commands share, and how each of them ends."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from relay.commands import WrongUse
from relay.errors import ConfigError

CONFIG = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("config.toml"),
    show_default=True,
    metavar="FILE",
    help="The configuration.",
)
URL = click.option(
    "--url", default="http://127.0.0.1:8080", show_default=True, metavar="URL", help="The relay's address."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")


def finish(work: Callable[[], int]) -> NoReturn:
    """End the process as `relay` promises: 0 done, 1 a failure was found, 2 wrong use or configuration."""
    if not gc.isenabled():
        gc.freeze()  # what is loaded stays to the end
        gc.enable()
    try:
        status = work()
    except (ConfigError, WrongUse) as error:
        click.echo(f"relay: {error}", err=True)
        status = 2
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is not None:
            raise
        raise click.Abort from None
    sys.exit(status)
