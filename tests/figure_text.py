"""What is written in a figure."""

from xml.etree import ElementTree


def texts(svg: str | None) -> list[str]:
    """All text of a figure, in the order in which it was drawn."""
    assert svg is not None
    return ["".join(element.itertext()).strip() for element in ElementTree.fromstring(svg).iter("text")]
