"""Each command ends as `relay` promises, whatever comes of its work."""

from collections.abc import Callable

import pytest

from relay.cli.options import finish
from relay.commands import WrongUse, call
from relay.errors import ConfigError
from tests.support.commands import relay


def raises(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize("status", [0, 1])
def test_what_the_work_found_is_the_status(status: int) -> None:
    with pytest.raises(SystemExit) as ended:
        finish(lambda: status)

    assert ended.value.code == status


@pytest.mark.parametrize("error", [WrongUse("URL x: wrong"), ConfigError("URL x: wrong")])
def test_wrong_use_is_status_2_and_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        finish(raises(error))

    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "relay: URL x: wrong\n")


def test_a_fault_of_the_relay_is_not_hidden() -> None:
    with pytest.raises(BaseExceptionGroup, match="nursery"):
        finish(raises(BaseExceptionGroup("nursery", [KeyError("x")])))


def test_an_interrupted_command_says_so_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise BaseExceptionGroup("nursery", [KeyboardInterrupt()])

    monkeypatch.setattr(call, "place_call", interrupted)
    done = relay("call", "http://127.0.0.1:9")

    assert (done.exit_code, done.output) == (1, "Aborted!\n")
