"""The machine is described here, and its cores are dealt out: a figure is worth little without them."""

import os
import platform
from pathlib import Path
from typing import Any


def cores() -> tuple[int | None, int | None]:
    """(the relay's core, the load's): None where there is only one, and both share it."""
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)


def machine() -> dict[str, Any]:
    """Cores, processor, Python, and how busy it is now."""
    relay_core, load_core = cores()
    return {
        "cores": len(os.sched_getaffinity(0)),
        "relay_core": relay_core,
        "load_core": load_core,
        "cpu": _cpu_model(),
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
