"""Markdown for a pull request."""

from typing import Any

import pytest

from foldpress.benchmark.markdown import render_markdown

pytest_plugins = ["report_fixture"]
Report = dict[str, Any]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, split only at bars that are not escaped."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")] for line in lines]


def test_verdict_comes_first(report: Report) -> None:
    """Catches a verdict that has to be looked for."""
    assert render_markdown(report).splitlines()[0] == "## ✅ foldpress: PASS"
    assert render_markdown({**report, "verdict": "FAIL"}).startswith("## ❌ foldpress: FAIL")
    assert render_markdown({**report, "verdict": "INCONCLUSIVE"}).startswith("## ⚠️ foldpress: INCONCLUSIVE")


def test_every_check_and_graph_has_its_row(report: Report) -> None:
    """Catches a check, graph or fold that is missing, and figures in another's column."""
    found = rows(render_markdown(report))
    assert ["✅ PASS", "max\\_bytes", "49.7 kB", "–", "100.0 kB", "–", "49.7 kB, under 100.0 kB"] in found
    assert [row[0] for row in found if ".onnx" in row[0]] == ["exported.onnx", "pruned.onnx", "quantized.onnx (ships)"]
    assert [row[0] for row in found if row[0].startswith("fold ")] == [f"fold {fold}" for fold in range(5)]
    assert (
        next(row for row in found if row[0] == "test split")[5]
        == f"{100 * report['accuracy']['test']['drop_upper']:.2f} %"
    )


def test_hostile_text_cannot_format_or_inject(report: Report) -> None:
    """Catches a reason that ends its table cell, opens HTML, links somewhere or calls a person."""
    report["checks"][0]["why"] = "a | b\n\n# title <script>alert(1)</script> [x](http://e.org) `c` @someone"
    text = render_markdown(report)
    assert "<script>" not in text.replace("\\<", "")
    assert "](" not in text.replace("\\]", "")
    assert "@" not in text
    assert {len(row) for row in rows(text)[:6]} == {7}


def test_the_worst_classes_are_listed_and_no_more(report: Report) -> None:
    """Catches a pull request comment of a thousand rows, and one that leaves out the class that fell."""
    each = report["accuracy"]["classes"]
    each[7]["drop_upper"] = 0.5
    text = render_markdown(report)
    assert "By class (the worst 5 of 10):" in text
    start = next(index for index, row in enumerate(rows(text)) if row[0] == "class")
    assert rows(text)[start + 2][0] == "7"
    assert len(rows(text)[start + 2 :]) == 5
    report["accuracy"]["classes"] = None
    assert "By class" not in render_markdown(report)


@pytest.mark.parametrize("key", ["test", "folds"])
def test_absent_accuracy_is_told_with_its_reason(report: Report, key: str) -> None:
    """Catches a block that silently disappears."""
    report["accuracy"] |= {key: None, f"{key}_why": "the data have no targets"}
    assert "not measured: the data have no targets" in render_markdown(report)


@pytest.mark.parametrize("key", ["accuracy", "latency", "graphs", "checks"])
def test_renders_whatever_is_absent(report: Report, key: str) -> None:
    """Catches a crash at the very end of a run."""
    assert render_markdown({**report, key: None}).startswith("## ✅")


def test_regression_flips_are_a_dash_with_the_reason(regression: tuple[Report, Any]) -> None:
    """Catches 0 % flips for a model that cannot flip, and R² shown as a per cent."""
    text = render_markdown(regression[0])
    split = next(row for row in rows(text) if row[0] == "test split")
    assert split[6:] == ["–", "–"]
    assert "%" not in split[2]
    assert "numbers do not flip" in text
