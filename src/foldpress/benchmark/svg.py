"""A figure as an SVG element that stands inside an HTML page.

Text and axes take the page's own text colour (`currentColor`), marks take mid-tones that stand out on white and on
black, and every id carries the figure's name, so that several figures share a page without borrowing each other's
clip paths. Two drawings of the same evidence are the same, byte for byte.
"""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

# Each at least 3:1 against white and against #14171c, the page's two backgrounds (WCAG 1.4.11).
COLOURS = ("#6f87a8", "#12977f", "#b9791f", "#9a6fc4", "#b8608f")
STRESS = "#d9534f"
INK = "#010203"  # stands for the page's text colour until `_inline` puts currentColor in its place
WIDTH = 5.2  # inches; at 72 points an inch about half of a desktop page
ROW = 0.27  # inches of height for each row of a figure that grows with its rows

_STYLE = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 10,
    "axes.titlesize": 10, "axes.titlelocation": "left",
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6, "legend.frameon": False,
    "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor"), INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), INK),
}  # fmt: skip
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
_LABEL_AT_MOST = 28  # characters


@dataclass(frozen=True)
class Drawing:
    """One figure. `svg` is None when there is nothing to draw; `caption` then says why."""

    name: str
    title: str
    caption: str
    svg: str | None


def draw_svg(name: str, height: float, draw: Callable[[Any], None]) -> str:
    """An SVG element of a fixed width; `height` in inches. The user's own matplotlib settings do not reach it."""
    from matplotlib import style
    from matplotlib.figure import Figure

    stream = io.StringIO()
    with style.context(["default", {**_STYLE, "svg.hashsalt": name}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser has the letters
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure)
        figure.savefig(stream, format="svg", transparent=True, metadata=_NO_METADATA)
    return _inline(stream.getvalue(), name)


def label(text: object) -> str:
    """Text that XML can hold and a figure has room for."""
    clean = "".join(letter if letter.isprintable() else "\ufffd" for letter in str(text))
    return clean if len(clean) <= _LABEL_AT_MOST else f"{clean[: _LABEL_AT_MOST - 1]}…"


def _inline(document: str, name: str) -> str:
    """Matplotlib's SVG file as an element for HTML: no style sheet, no foreign names, ids that are the figure's own."""
    root = ElementTree.fromstring(document)  # noqa: S314 (written a moment ago by matplotlib, whatever the labels say)
    for parent in root.iter():
        for sheet in [child for child in parent if child.tag.endswith("}style")]:
            parent.remove(sheet)  # in a page its rules would apply to everything
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        if element.tag == "g":
            attributes.pop("id", None)
        element.attrib = {key: _own(key, value, name) for key, value in attributes.items()}
    width, height = root.attrib.pop("width"), root.attrib.pop("height")
    size = f"--width:{width};--height:{height};stroke-linejoin:round;stroke-linecap:butt"
    root.attrib.update({"role": "img", "aria-labelledby": f"title-{name}", "style": size, "id": f"figure-{name}"})
    return ElementTree.tostring(root, encoding="unicode")


def _own(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    value = value.replace("url(#", f"url(#{name}-") if key in ("clip-path", "style") else value
    value = f"#{name}-{value[1:]}" if key == "href" else value
    return re.sub(r"font-family: [^;]*;? ?", "", value).replace(INK, "currentColor") if key == "style" else value
