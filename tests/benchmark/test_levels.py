"""The gate's levels by simulation: how often it passes a true drop that is exactly the margin. 5 % is nominal."""

import pytest

from levels import Learner, Setting, by_fold, by_group, by_position, one_artifact, refit

ALLOWED = 0.07


@pytest.mark.parametrize(
    "setting", [Setting(300, 0.01, 0.02), Setting(500, 0.02, 0.06), Setting(1000, 0.01, 0.01)], ids=str
)
def test_false_passes_on_the_test_split(setting: Setting) -> None:
    """Catches a bound that is too low, or a block that counts samples wrongly."""
    assert one_artifact(setting, 4000) <= ALLOWED


@pytest.mark.parametrize(
    "setting", [Setting(500, 0.02, 0.02, 0.5), Setting(1000, 0.02, 0.06, 1.0), Setting(300, 0.05, 0.1, 0.5)], ids=str
)
def test_false_passes_over_folds_that_differ(setting: Setting) -> None:
    """Catches a pooled bound alone, which does not see that calibrations differ from each other."""
    assert by_fold(setting, 2000) <= ALLOWED


@pytest.mark.parametrize(
    "learner", [Learner(300, 10, 2.0, 1), Learner(500, 10, 2.0, 2), Learner(200, 5, 1.5, 1)], ids=str
)
def test_false_passes_of_a_procedure_that_is_trained_anew(learner: Learner) -> None:
    """Catches folds taken for independent, though each two share most of their training samples."""
    share, margin, flips = refit(learner, 2000)
    assert share <= ALLOWED
    assert margin > 0
    assert flips > margin


def test_false_passes_by_group() -> None:
    """Catches samples of a group taken for independent: that passes far too often; and shows that it would."""
    setting = Setting(1000, 0.05, 0.08, 0.7, 20)
    assert by_group(setting, 2000) <= ALLOWED
    assert by_group(setting, 2000, aware=False) > 0.1


@pytest.mark.parametrize(
    ("setting", "positions"),
    [(Setting(300, 0.01, 0.02, 1.0), 16), (Setting(300, 0.02, 0.06, 0.25), 16), (Setting(100, 0.05, 0.1, 0.0), 64)],
    ids=str,
)
def test_false_passes_with_several_positions_a_sample(setting: Setting, positions: int) -> None:
    """Catches a bound that is too low where a sample's positions are lost together, a few at a time, or one by one."""
    assert by_position(setting, positions, 1000) <= ALLOWED


def test_positions_are_no_samples() -> None:
    """Catches positions taken for independent: where samples are lost as a whole that passes far too often."""
    assert by_position(Setting(150, 0.04, 0.08, 1.0), 16, 200, aware=False) > 0.25


def test_power_grows_with_samples_and_shrinks_with_flips() -> None:
    """Catches a bound so wide that it never passes: with enough samples, what loses nothing has to."""
    few, many = (one_artifact(Setting(n, 0.01, 0.03), 1000, drop=0.0) for n in (600, 5000))
    assert few < 0.5 < 0.9 < many
    assert one_artifact(Setting(5000, 0.01, 0.08), 1000, drop=0.0) < many
