"""Segments of longer recordings, cut into files of their own."""

from .cut_list import CutList, LabelledSegment
from .cutter import cut
from .overlaps import overlaps_of_speakers
from .sources import read_segments

__all__ = ["CutList", "LabelledSegment", "cut", "overlaps_of_speakers", "read_segments"]
