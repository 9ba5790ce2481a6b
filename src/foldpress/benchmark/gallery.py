"""The flipped test samples as the page shows them: what each was, what it became, and its picture where it is an image."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from foldpress.benchmark.evidence import Evidence, Paired
from foldpress.benchmark.flips import SHOWN_AT_MOST, Flip, flips
from foldpress.benchmark.pictures import data_uri
from foldpress.benchmark.table import class_name, count

_COARSE = 64  # pixels a side: below, edges are kept sharp when a browser enlarges them


@dataclass(frozen=True)
class Card:
    """One flipped sample; `picture` is an address that holds the image itself, or None."""

    sample: int
    target: str
    baseline: str
    artifact: str
    meaning: str
    picture: str | None
    coarse: bool


def gallery(evidence: Evidence) -> list[Card]:
    """The flips that there is room for, those first that were right before."""
    if evidence.test is None or not evidence.facts.get("has_labels", True):
        return []
    pictures = evidence.pictures
    pixels = {} if pictures is None else dict(zip(pictures.sample.tolist(), pictures.pixels, strict=True))
    shown = flips(evidence.test)[:SHOWN_AT_MOST]
    return [_card(flip, pixels.get(flip.sample), evidence.facts.get("classes")) for flip in shown]


def told_flips(test: Paired | None) -> str:
    """How many samples flipped and to what end, and whether all of them are shown."""
    found = [] if test is None else flips(test)
    ends = Counter(flip.meaning for flip in found)
    told = ", ".join(f"{count(number)} {meaning}" for meaning, number in ends.items())
    return f"{told}; the first {SHOWN_AT_MOST} are shown." if len(found) > SHOWN_AT_MOST else f"{told}."


def _card(flip: Flip, pixels: Any, classes: object) -> Card:
    target, baseline, artifact = (class_name(value, classes) for value in (flip.target, flip.baseline, flip.artifact))
    picture = None if pixels is None else data_uri(pixels)
    coarse = pixels is not None and max(pixels.shape[:2]) < _COARSE
    return Card(flip.sample, target, baseline, artifact, flip.meaning, picture, coarse)
