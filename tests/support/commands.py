"""The commands as a shell runs them, within this process."""

from click.testing import CliRunner, Result

from relay.cli import main
from tests.support.daemons import environment


def relay(*arguments: str, **environ: str) -> Result:
    """`relay` with these arguments, and with these variables besides those of every test."""
    return CliRunner().invoke(main, arguments, env=environment(**environ))


def one_line(done: Result) -> str:
    """The one line on standard error; nothing else was written anywhere."""
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr
