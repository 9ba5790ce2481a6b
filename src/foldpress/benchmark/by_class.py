"""The drop of each class of the test split, with the bound that counts all classes; and their figure."""

from collections.abc import Mapping
from typing import Any

from foldpress.benchmark.drops import DRAWN_AT_MOST, Drop, draw_intervals, limit_of
from foldpress.benchmark.svg import ROW, Drawing, draw_svg
from foldpress.benchmark.table import block, class_name, metric_of

_NAME, _TITLE = "classes", "Drop by class"


def worst_first(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The report's classes, the worst bound first; what is unknown may be the worst."""
    classes = block(report, "accuracy").get("classes") or []
    return sorted(classes, key=lambda one: (one.get("drop_upper") is not None, -(one.get("drop_upper") or 0)))


def draw_classes(report: Mapping[str, Any], classes: object = None) -> Drawing:
    """The drop of each class and its bound, and the margin where the gate has one."""
    drops = [_drop(one, classes) for one in worst_first(report) if one.get("drop") is not None]
    if not drops:
        why = block(report, "accuracy").get("classes_why") or "not measured"
        return Drawing(_NAME, _TITLE, f"No drop by class: {why}.", None)
    shown = drops[:DRAWN_AT_MOST]
    level = f" at {100 * report['confidence']:.4g} % confidence" if report.get("confidence") else ""
    caption = f"Each line ends at an upper bound; all of them hold together{level}. The worst bound stands first."
    caption += f" {len(shown)} of {len(drops)} classes." if len(shown) < len(drops) else ""
    metric, limit = metric_of(report), limit_of(report, "max_class_drop")
    height = 1.2 + ROW * len(shown)
    return Drawing(
        _NAME, _TITLE, caption, draw_svg(_NAME, height, lambda figure: draw_intervals(figure, shown, metric, limit))
    )


def _drop(one: Mapping[str, Any], classes: object) -> Drop:
    """Only upper bounds are taken, so the lower end is the drop itself."""
    return Drop(class_name(one["class"], classes), one["n"], one["drop"], one["drop"], one.get("drop_upper"))
