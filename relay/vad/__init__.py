"""Recordings through the speech detector: what it decides, how well it does, what a quiet room needs.

Files in, tables, JSON and pictures out. The model and the detector are those of calls.
"""

from relay.vad.analysis import RecordingAnalysis, analyse, as_json
from relay.vad.benchmark import Evaluation, evaluate
from relay.vad.calibration import Calibration, calibrate
from relay.vad.plot import plot

__all__ = ["Calibration", "Evaluation", "RecordingAnalysis", "analyse", "as_json", "calibrate", "evaluate", "plot"]
