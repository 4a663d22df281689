"""Nothing that runs in the relay reports to anybody."""

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import relay.media.silero as silero
silero.SileroModel.load(16000, "onnxruntime")
"""


def test_the_model_runtime_collects_nothing(tmp_path: Path) -> None:
    """Its telemetry, on by default, keeps a device id and a queue of reports under the home directory."""
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}  # a CI variable would turn it off by itself

    subprocess.run([sys.executable, "-c", CODE], env=environ, check=True, timeout=60)

    assert list(tmp_path.rglob("*")) == []
