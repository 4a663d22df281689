"""The apology is there without configuration, and a file that cannot be it refuses to start."""

from pathlib import Path

import pytest

from relay.config import ReconnectConfig
from relay.daemon.apology import load_apology
from relay.errors import ConfigError


def test_the_built_in_one_is_speech_of_some_seconds() -> None:
    assert 2000 < load_apology(ReconnectConfig()).duration_ms < 8000


@pytest.mark.parametrize("content", [None, b"", b"RIFF"])
def test_a_file_that_is_none_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "sorry.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"apology_file.*sorry\.wav"):
        load_apology(ReconnectConfig(apology_file=str(path)))
