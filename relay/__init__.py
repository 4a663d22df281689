"""Relays the voices of live calls between telephone or browser callers and a voice assistant."""

import os

__version__ = "0.1.0"

# onnxruntime from 1.29 on reports to its maker unless this is set before it is first imported (its Privacy.md).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# The products of the speech model are too small to be shared out: more threads of numpy's library would fight with the
# event loop for its core. It looks at this when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
