"""Score against cost: which graphs none other beats."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from figure_text import texts
from foldpress.benchmark.pareto import draw_pareto, unbeaten

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]
POINTS = st.lists(st.tuples(st.integers(0, 6).map(float), st.integers(0, 6).map(float)), min_size=1, max_size=12)


@given(POINTS)
def test_no_point_of_the_front_is_beaten_and_every_other_one_is(points: list[tuple[float, float]]) -> None:
    """Catches a graph on the line that another one is smaller and better than, and ties taken for defeats."""
    front = unbeaten(points)
    assert front == sorted(set(front))
    for cost, score in points:
        cheaper_and_better = [
            one for one in points if one[0] <= cost and one[1] >= score and (one[0] < cost or one[1] > score)
        ]
        assert ((cost, score) in front) == (not cheaper_and_better)


def test_every_scored_graph_stands_in_both_panels(report: Report) -> None:
    """Catches a graph that is missing, and a panel without its unit."""
    report["graphs"]["pruned.onnx"]["score"] = 0.97
    shown = texts(draw_pareto(report).svg)
    assert {"exported.onnx", "pruned.onnx", "quantized.onnx", "margin", "kB", "p50 in ms", "accuracy, %"} <= set(shown)


def test_without_latency_sizes_are_left(report: Report) -> None:
    """Catches an unknown latency drawn as 0, the fastest of all."""
    report["latency"] = []
    shown = texts(draw_pareto(report).svg)
    assert "kB" in shown
    assert "p50 in ms" not in shown


def test_one_score_makes_no_picture(report: Report) -> None:
    """Catches a figure of the baseline against nothing."""
    report["accuracy"]["test"]["artifact"] = None
    assert draw_pareto(report).svg is None
