"""Segments of longer recordings, cut into files of their own."""

from .cut_list import CutList, LabelledSegment
from .cutter import cut
from .sources import read_segments

__all__ = ["CutList", "LabelledSegment", "cut", "read_segments"]
