"""Segments of one recording that share audio although their speakers differ."""

import math
import os
from collections import defaultdict

from .cut_list import CutList, LabelledSegment


def overlaps_of_speakers(listed: CutList) -> list[LabelledSegment]:
    """Return the segments that begin before an earlier one of another speaker has ended, by recording and start.

    Folds by speaker have the shared audio on both sides.
    """
    of_recording: dict[str, list[LabelledSegment]] = defaultdict(list)
    for segment in listed.segments:
        of_recording[os.path.normpath(segment.audio)].append(segment)
    found = []
    for segments in of_recording.values():
        ends: dict[str, float] = {}
        for segment in sorted(segments, key=lambda segment: segment.start):
            speaker = segment.labels["speaker"]
            if any(end > segment.start for other, end in ends.items() if other != speaker):
                found.append(segment)
            end = math.inf if segment.end is None else segment.end
            ends[speaker] = max(end, ends.get(speaker, 0.0))
    return found
