"""The commands of the daemon refuse a configuration that is wrong before anything starts."""

from pathlib import Path

import pytest

from tests.support.commands import one_line, relay
from tests.support.daemons import settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(settings())
    return path


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_wrong_configuration_is_status_2_and_one_line(command: str, config: Path) -> None:
    config.write_text(settings(max_calls=0))
    done = relay(command, "--config", str(config))

    assert done.exit_code == 2
    line = one_line(done)
    assert str(config) in line
    assert "limits.max_calls" in line


@pytest.mark.parametrize("command", ["serve", "check"])
def test_a_missing_secret_is_status_2_and_one_line(command: str, config: Path) -> None:
    done = relay(command, "--config", str(config), VAPI_API_KEY="")

    assert done.exit_code == 2
    assert "VAPI_API_KEY" in one_line(done)
