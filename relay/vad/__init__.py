"""Runs recordings through the speech detector of calls: its decisions, how good they are, what a quiet room needs.

Files go in; tables, JSON and pictures come out.
"""

from relay.vad.analysis import RecordingAnalysis, analyse, as_json
from relay.vad.benchmark import Evaluation, evaluate
from relay.vad.calibration import Calibration, calibrate
from relay.vad.plot import plot

__all__ = ["Calibration", "Evaluation", "RecordingAnalysis", "analyse", "as_json", "calibrate", "evaluate", "plot"]
