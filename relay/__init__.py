"""Real-time voice media relay between telephone or browser callers and a voice assistant."""

__version__ = "0.1.0"
