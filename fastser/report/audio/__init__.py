"""Audio to hear in a report: an utterance clean, in noise and after attacks."""

from fastser.report.audio.listening import Clip, Listening, listen

__all__ = ["Clip", "Listening", "listen"]
