"""The gate: what passes, what fails, and that nothing unknown ever passes."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldpress.benchmark.checks import EXIT_CODES, Check, Figures, verdict_of
from foldpress.benchmark.gate import judge
from foldpress.benchmark.intervals import tango_upper
from foldpress.errors import RequestError

GOOD, NEAR, BAD = {"PASS": (0.001, 0.004), "INCONCLUSIVE": (0.001, 0.02), "FAIL": (0.03, 0.05)}.items()
CASES = [GOOD, NEAR, BAD]
ODD = st.sampled_from([None, math.nan, math.inf, -math.inf])
SEVERITY = {"PASS": 0, "INCONCLUSIVE": 1, "FAIL": 2}


def row(**changes: Any) -> dict[str, Any]:
    """The artifact's latency under one setting, as report.json has it."""
    usual = {"provider": "CPUExecutionProvider", "batch": 1, "n": 1000, "speedup": 1.7, "speedup_low": 1.6}
    itself = {"aa_ratio": 1.0, "aa_low": 0.995, "aa_high": 1.005}
    return usual | {"p90_ms": 1.0, "p90_upper_ms": 1.1} | itself | changes


def only(name: str, limit: float, **figures: Any) -> Check:
    """The one check that this limit asks for."""
    (check,) = judge({name: limit}, Figures(confidence=0.95, **figures))
    return check


@pytest.mark.parametrize(("verdict", "figures"), CASES)
def test_max_drop(verdict: str, figures: tuple[float, float]) -> None:
    """Catches a gate on the measured drop alone, which any small test set would pass."""
    check = only("max_drop", 0.01, test={"n": 500, "drop": figures[0], "drop_upper": figures[1], "flips": 0.01})
    assert (check.verdict, check.value, check.bound, check.limit, check.n) == (verdict, *figures, 0.01, 500)
    assert ("about 2229 samples would settle it" in check.why) == (verdict == "INCONCLUSIVE")


@pytest.mark.parametrize(("verdict", "figures"), CASES)
def test_max_drop_judges_the_folds_too(verdict: str, figures: tuple[float, float]) -> None:
    """Catches a recipe that loses accuracy on held-out folds, let through by a lucky test split."""
    blocks = [{"n": 500, "drop": drop, "drop_upper": upper} for drop, upper in (GOOD[1], figures)]
    checks = judge({"max_drop": 0.01}, Figures(0.95, test=blocks[0], folds=blocks[1]))
    assert [(check.name, check.verdict) for check in checks] == [("max_drop", "PASS"), ("max_drop_folds", verdict)]


@pytest.mark.parametrize(("verdict", "figures"), CASES)
def test_max_flips(verdict: str, figures: tuple[float, float]) -> None:
    """Catches flips that are taken from the drop: accuracy can stay while answers change."""
    test = {"n": 500, "drop": 0.0, "drop_upper": 0.0, "flips": figures[0], "flips_upper": figures[1]}
    assert only("max_flips", 0.01, test=test).verdict == verdict
    unknown = only("max_flips", 0.01, test=test | {"flips": None, "flips_upper": None, "flips_why": "no classes here"})
    assert (unknown.verdict, "no classes here" in unknown.why) == ("INCONCLUSIVE", True)


@pytest.mark.parametrize(("verdict", "figures"), CASES)
def test_max_class_drop_is_that_of_the_worst_class(verdict: str, figures: tuple[float, float]) -> None:
    """Catches a class that is lost behind the others' average."""
    check = only("max_class_drop", 0.01, class_drops=[(0, 50, *GOOD[1]), (1, 50, *figures), (2, 50, 0.0, 0.003)])
    assert check.verdict == verdict


@pytest.mark.parametrize(
    ("verdict", "speedup", "low"), [("PASS", 1.7, 1.6), ("INCONCLUSIVE", 1.7, 0.9), ("FAIL", 0.9, 0.8)]
)
@pytest.mark.parametrize("other", [row(), row(batch=32, speedup=3.0, speedup_low=2.9)])
def test_min_speedup_holds_in_every_setting(verdict: str, speedup: float, low: float, other: dict[str, Any]) -> None:
    """Catches a slow batch size hidden behind a fast one."""
    slow = row(speedup=speedup, speedup_low=low)
    for rows in ([slow, other], [other, slow]):
        assert only("min_speedup", 1.0, latency=rows).verdict == verdict


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aa_low": 1.001, "aa_high": 1.01}, "the A/A test fails"),
        ({"aa_low": 0.97, "aa_high": 0.999}, "the A/A test fails"),
        ({"aa_low": 0.7, "aa_high": 1.3}, "the A/A test hides it"),
        ({"aa_low": None, "aa_high": None, "aa_low_why": "one process"}, "the A/A test is missing: one process"),
        ({"aa_low": math.nan}, "the A/A test is missing"),
        ({"aa_high": math.inf}, "the A/A test is missing"),
    ],
)
def test_a_speedup_without_a_good_aa_test_is_inconclusive(changes: dict[str, Any], why: str) -> None:
    """Catches a claim of speed from a machine that finds as much between two equal graphs; a slow graph stays a FAIL."""
    check = only("min_speedup", 1.0, latency=[row(**changes)])
    assert (check.verdict, why in check.why) == ("INCONCLUSIVE", True)
    assert only("min_speedup", 2.0, latency=[row(**changes)]).verdict == "FAIL"


def test_the_effect_that_is_claimed_is_the_distance_to_the_limit() -> None:
    """Catches an A/A interval that is narrow beside the speedup, and wide beside what it is over the limit."""
    unsure = row(speedup=1.70, speedup_low=1.67, aa_low=0.98, aa_high=1.02)
    verdicts = [only("min_speedup", limit, latency=[unsure]).verdict for limit in (0.0, 1.0, 1.6, 1.65)]
    assert verdicts == ["PASS", "PASS", "PASS", "INCONCLUSIVE"]


def test_a_broken_setting_outweighs_an_uncertain_one() -> None:
    """Catches FAIL told as INCONCLUSIVE, because only the row with the lowest bound is looked at."""
    rows = [row(speedup=1.5, speedup_low=0.2), row(speedup=0.9, speedup_low=0.8)]
    assert only("min_speedup", 1.0, latency=rows).verdict == "FAIL"


@pytest.mark.parametrize(("verdict", "size"), [("PASS", 500_000), ("FAIL", 500_001), ("INCONCLUSIVE", None)])
def test_max_bytes(verdict: str, size: int | None) -> None:
    """Catches a limit that is missed by one byte, and an unknown size that passes."""
    assert only("max_bytes", 500_000, artifact_bytes=size).verdict == verdict


@pytest.mark.parametrize(
    ("verdict", "p90", "upper"), [("PASS", 4.0, 4.5), ("INCONCLUSIVE", 4.0, 5.1), ("FAIL", 5.1, 6.0)]
)
def test_max_latency_p90_holds_in_every_setting(verdict: str, p90: float, upper: float) -> None:
    """Catches a setting with a wide bound hidden behind another with a higher p90 but a narrow bound."""
    for rows in (
        [row(p90_ms=p90, p90_upper_ms=upper), row(p90_ms=4.2, p90_upper_ms=4.3)],
        [row(p90_ms=p90, p90_upper_ms=upper)],
    ):
        assert only("max_latency_p90", 5.0, latency=rows).verdict == verdict
    few = row(p90_ms=None, p90_upper_ms=None, p90_ms_why="needs 64 runs; there are 40")
    check = only("max_latency_p90", 5.0, latency=[row(), few])
    assert (check.verdict, "needs 64 runs" in check.why) == ("INCONCLUSIVE", True)


@pytest.mark.parametrize(
    "name",
    ["max_drop", "max_flips", "max_class_drop", "min_speedup", "max_bytes", "max_latency_p90", "max_disagreement"],
)
def test_nothing_measured_is_no_pass(name: str) -> None:
    """Catches absence taken for zero: missing evidence must never let a release through."""
    empty = Figures(0.95, test={}, folds={}, class_drops=[], latency=[])
    for figures in (Figures(0.95), empty):
        checks = judge({name: 0.01}, figures)
        assert {check.verdict for check in checks} == {"INCONCLUSIVE"}
        assert all(check.why for check in checks)


@given(st.data())
def test_one_figure_that_is_no_number_is_never_a_pass(data: st.DataObject) -> None:
    """Catches `nan > limit`, which is false, anywhere among figures that would all pass."""
    test = {"n": 500, "drop": 0.0, "drop_upper": 0.001, "flips": 0.0, "flips_upper": 0.001}
    classes = [(label, 50, 0.0, 0.001) for label in range(3)]
    rows = [row(batch=batch) for batch in (1, 8, 32)]
    odd, where = data.draw(ODD), data.draw(st.integers(0, 2))
    name, figures = data.draw(
        st.sampled_from(
            [
                ("max_drop", Figures(0.95, test=test | {"drop": odd})),
                ("max_drop", Figures(0.95, test=test | {"drop_upper": odd})),
                ("max_drop", Figures(0.95, test=test, folds=test | {"drop_upper": odd})),
                ("max_flips", Figures(0.95, test=test | {"flips_upper": odd})),
                ("max_flips", Figures(0.95, test=test | {"flips": odd})),
                ("min_speedup", Figures(0.95, latency=[*rows[:where], row(speedup=odd), *rows[where:]])),
                ("min_speedup", Figures(0.95, latency=[*rows[:where], row(speedup_low=odd), *rows[where:]])),
                ("max_latency_p90", Figures(0.95, latency=[*rows[:where], row(p90_ms=odd), *rows[where:]])),
                ("max_latency_p90", Figures(0.95, latency=[*rows[:where], row(p90_upper_ms=odd), *rows[where:]])),
            ]
        )
    )
    assert verdict_of(judge({name: 1.5}, figures)) != "PASS"
    if odd is not None:
        for worse in ((9, 50, odd, 0.001), (9, 50, 0.0, odd)):
            mixed = [*classes[:where], worse, *classes[where:]]
            assert verdict_of(judge({"max_class_drop": 0.5}, Figures(0.95, class_drops=mixed))) != "PASS"


@given(st.integers(2, 500), st.data())
def test_one_more_loss_never_helps(n: int, data: st.DataObject) -> None:
    """Catches a worse graph with a better verdict."""
    lost = data.draw(st.integers(0, n - 1))
    gained = data.draw(st.integers(0, n - 1 - lost))
    limit = data.draw(st.floats(0, 0.3))

    def verdict(b: int) -> str:
        block = {"n": n, "drop": (b - gained) / n, "drop_upper": tango_upper(b, gained, n), "flips": (b + gained) / n}
        return only("max_drop", limit, test=block).verdict

    assert SEVERITY[verdict(lost + 1)] >= SEVERITY[verdict(lost)]


@given(
    st.permutations(["max_drop", "max_flips", "max_bytes", "min_speedup"]),
    st.lists(st.floats(0, 3), min_size=4, max_size=4),
)
def test_order_of_limits_does_not_matter(names: list[str], limits: list[float]) -> None:
    """Catches a verdict that depends on which limit was written first."""
    given_limits = dict(zip(sorted(names), limits, strict=True))
    test = {"n": 500, "drop": 0.1, "drop_upper": 0.2, "flips": 0.1, "flips_upper": 0.2}
    figures = Figures(0.95, test=test, artifact_bytes=1, latency=[row()])
    first = judge({name: given_limits[name] for name in names}, figures)
    second = judge(given_limits, figures)
    assert verdict_of(first) == verdict_of(second)
    assert sorted(first, key=lambda check: check.name) == sorted(second, key=lambda check: check.name)


def test_no_limits_and_unknown_limits_are_errors() -> None:
    """Catches a gate without a limit, and a misspelled one, that let everything through."""
    for limits in ({}, {"max_drops": 0.01}, {"max_drop": math.nan}, {"max_drop": -0.1}, {"max_drop": math.inf}):
        with pytest.raises(RequestError):
            judge(limits, Figures(0.95))


def test_verdict_of_checks() -> None:
    """Catches FAIL outvoted, INCONCLUSIVE rounded up, and a PASS of no checks at all."""
    check = only("max_bytes", 1, artifact_bytes=1)
    some = [replace(check, verdict=verdict) for verdict in ("PASS", "INCONCLUSIVE", "FAIL")]
    assert [verdict_of(some[:size]) for size in range(4)] == ["INCONCLUSIVE", "PASS", "INCONCLUSIVE", "FAIL"]
    assert [code for code in EXIT_CODES.values() if code == 0] == [EXIT_CODES["PASS"]]


def test_samples_needed_where_nothing_flipped() -> None:
    """Catches extrapolating by the root of n, where the bound shrinks with n itself."""
    bound = tango_upper(0, 0, 200, 0.95)
    check = only("max_drop", 0.01, test={"n": 200, "drop": 0.0, "drop_upper": bound, "flips": 0.0})
    assert "about 268 samples would settle it" in check.why
    assert tango_upper(0, 0, 268, 0.95) <= 0.01 < tango_upper(0, 0, 267, 0.95)
