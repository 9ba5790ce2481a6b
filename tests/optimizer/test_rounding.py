import numpy as np
import pytest

from foldpress.optimizer.rounding import relative_error, round_groups, symmetric_levels

WEIGHTS = np.random.default_rng(0).standard_normal((6, 40)).astype(np.float32)


def exhaustive(row: np.ndarray, low: int, high: int) -> float:
    """The least squared error of any scale, by trying very many of them one by one."""
    reach = np.abs(row).max()
    errors = []
    for scale in np.linspace(-reach, reach, 20_001):
        if scale:
            rounded = np.clip(np.rint(row / scale), low, high) * scale
            errors.append(((row - rounded) ** 2).sum())
    return float(min(errors))


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-3, 3), (-7, 7), (-8, 7)])
def test_the_error_is_near_the_least_of_any_scale(low: int, high: int) -> None:
    """Catches a scale that only reaches the largest weight: with few levels it leaves several times the error."""
    integers, scales = round_groups(WEIGHTS, low, high)
    assert integers.min() >= low
    assert integers.max() <= high
    least = sum(exhaustive(row, low, high) for row in WEIGHTS)
    assert ((WEIGHTS - integers * scales[:, None]) ** 2).sum() <= 1.05 * least


def test_one_bit_is_the_sign_with_the_mean_magnitude() -> None:
    """Catches a zero among the signs, and any scale but that of XNOR-Net."""
    weights = np.array([[3, -1, 0, 2], [0, 0, 0, 0]], np.float32)
    integers, scales = round_groups(weights, -1, 1, signs_only=True)
    assert integers.tolist() == [[1, -1, 1, 1], [1, 1, 1, 1]]
    assert scales.tolist() == [1.5, 0]


def test_zeros_and_single_weights_are_exact() -> None:
    """Catches a division by a scale of zero, and groups whose only weight moves."""
    weights = np.array([[0, 0], [0, -5], [2, 0]], np.float32)
    integers, scales = round_groups(weights, -8, 7)
    np.testing.assert_allclose(integers * scales[:, None], weights, rtol=1e-6)
    assert relative_error(weights[:1], weights[:1]) == 0


def test_levels_are_symmetric() -> None:
    """Catches −128, which has no opposite, and a level beyond the type."""
    assert [symmetric_levels(bits) for bits in (1, 2, 3, 8)] == [(-1, 1), (-1, 1), (-3, 3), (-127, 127)]


def test_eight_bits_leave_no_more_than_half_a_step() -> None:
    """Catches clipping where there are levels enough."""
    integers, scales = round_groups(WEIGHTS, -127, 127)
    step = np.abs(WEIGHTS).max(1) / 127
    errors = ((WEIGHTS - integers * scales[:, None]) ** 2).mean(1)
    assert (errors <= (step / 2) ** 2).all()
