import numpy as np
import pytest
import torch

from foldpress.data import Dataset
from foldpress.errors import ParityError
from foldpress.exporter.parity import compare, tolerances, torch_outputs

REFERENCE = [np.array([[1.0, 2.0], [3.0, 1.0], [0.5, 0.4]], np.float32)]


def test_equal_outputs_pass_and_deviations_are_measured() -> None:
    """Catches: a maximum or mean taken over the wrong axis."""
    other = [REFERENCE[0] + np.array([[0, 0], [0, 0], [0.01, 0]], np.float32)]
    parity = compare(["y"], REFERENCE, {1: REFERENCE, 7: other}, [0.1])
    assert parity.outputs[0].largest == pytest.approx(0.01, rel=1e-4)
    assert parity.outputs[0].mean == pytest.approx(0.01 / 6, rel=1e-4)
    assert parity.outputs[0].worst_sample == 2
    assert parity.batches == (1, 7)


def test_every_changed_prediction_is_listed() -> None:
    """Catches: reporting deviations only, where a near tie changed the answer."""
    other = [np.array([[2.0, 1.9], [3.0, 1.0], [0.4, 0.5]], np.float32)]
    assert compare(["y"], REFERENCE, {1: other}, [5.0]).differing == (0, 2)


@pytest.mark.parametrize("wrong", [0.5, np.nan, np.inf])
def test_a_deviation_beyond_rounding_names_output_and_sample(wrong: float) -> None:
    """Catches: NaN comparing false and so passing."""
    other = [REFERENCE[0].copy()]
    other[0][1, 0] += wrong
    with pytest.raises(ParityError, match="output y .* at sample 1"):
        compare(["y"], REFERENCE, {1: other}, [0.1])


def test_another_shape_is_an_error() -> None:
    """Catches: broadcasting [N, 1] against [N]."""
    with pytest.raises(ParityError, match="shape"):
        compare(["y"], [np.zeros((3, 1), np.float32)], {1: [np.zeros(3, np.float32)]}, [1.0])


def test_the_tolerance_follows_rounding_and_not_the_scale_of_the_outputs_alone() -> None:
    """Catches: a fixed tolerance. Ill-conditioned sums get more of it, and real differences stay outside."""
    torch.manual_seed(0)
    data = Dataset({"input": np.random.default_rng(0).standard_normal((16, 64)).astype(np.float32)})
    plain = torch.nn.Linear(64, 4)
    large, small = torch.nn.Linear(64, 64), torch.nn.Linear(64, 4)
    cancelling = torch.nn.Sequential(large, small)
    with torch.no_grad():
        large.weight.mul_(1e3)
        small.weight.mul_(1e-3)
    seen = []
    for model in (plain, cancelling):
        reference = torch_outputs(model, data)
        limit = tolerances(model, data, reference)[0]
        exact = model.double()(torch.from_numpy(data.batch(slice(None))["input"]).double()).detach().numpy()
        assert np.abs(exact - reference[0]).max() < limit < 1e-3 * np.abs(reference[0]).max()
        seen.append(limit)
    assert seen[0] != seen[1]
