"""The flipped test samples as the page shows them: what each was, what it became, and its picture where it is an image."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from foldpress.benchmark.evidence import Evidence, Paired
from foldpress.benchmark.flips import Flip, flipped, shown_flips
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
    return [_card(flip, pixels.get(flip.sample), evidence.facts.get("classes")) for flip in shown_flips(evidence.test)]


def told_flips(test: Paired | None, cards: list[Card]) -> str:
    """How many samples flipped, to what end, and how many of them are shown."""
    if test is None or not cards:
        return "No flipped sample to show."
    total = len(flipped(test))
    ends = Counter(card.meaning for card in cards)
    shown = (
        f"{count(len(cards))} of {count(total)} flipped samples" if total > len(cards) else f"{count(total)} flipped"
    )
    return f"{shown}: {', '.join(f'{number} {meaning}' for meaning, number in ends.items())}."


def _card(flip: Flip, pixels: Any, classes: object) -> Card:
    target, baseline, artifact = (class_name(value, classes) for value in (flip.target, flip.baseline, flip.artifact))
    picture = None if pixels is None else data_uri(pixels)
    coarse = pixels is not None and max(pixels.shape[:2]) < _COARSE
    return Card(flip.sample, target, baseline, artifact, flip.meaning, picture, coarse)
