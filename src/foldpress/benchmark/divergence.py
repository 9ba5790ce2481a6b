"""How far the artifact's outputs are from the baseline's, sample by sample: an early warning, before any answer changes.

The Kullback–Leibler divergence Σ p log(p/q) of the predicted distributions, in nats, where the first output holds class scores
(arXiv 2407.09141 finds it to move with the flips, and sooner); and the largest difference of any output value.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foldpress.benchmark.labels import class_axes
from foldpress.data import Array

Floats = NDArray[np.float64]
_SUM = 1e-3  # float32 probabilities add up to one far closer than this


def divergences(baseline: list[Array], artifact: list[Array], counted: NDArray[np.bool_] | None = None) -> Floats:
    """KL divergence of the first output in nats, [N]; NaN where it holds no class scores.

    Args:
        baseline: the baseline's outputs, each [N, …].
        artifact: the artifact's.
        counted: the positions whose mean is a sample's, [N, …]; without, scores are [N, C].
    """
    first, second = (np.asarray(outputs[0], np.float64) for outputs in (baseline, artifact))
    axes = class_axes(first.shape, () if counted is None else counted.shape[1:])
    if baseline[0].dtype.kind != "f" or len(axes) != 1:
        return np.full(len(first), np.nan)
    first, second = (np.moveaxis(scores, axes[0], -1) for scores in (first, second))
    as_shares = _holds_shares(first) and _holds_shares(second)
    logs = [_log_shares(scores, as_shares=as_shares) for scores in (first, second)]
    found = (np.exp(logs[0]) * (logs[0] - logs[1])).sum(-1)
    return np.asarray(np.mean(found, tuple(range(1, found.ndim)), where=True if counted is None else counted))


def differences(baseline: list[Array], artifact: list[Array]) -> Floats:
    """The largest absolute difference of any value of any output, [N]."""
    pairs = zip(baseline, artifact, strict=True)
    return np.asarray(np.max([_largest(one, other) for one, other in pairs], axis=0))


def warning(kl: NDArray[Any], difference: NDArray[Any]) -> dict[str, Any]:
    """The `divergence` entry of a block of report.json; a figure that was not measured is null, with the reason."""
    block: dict[str, Any] = {}
    for name, values in (("kl", kl), ("largest_difference", difference)):
        known = len(values) > 0 and np.isfinite(values).all()
        why = "the first output holds no class scores" if name == "kl" else "not a finite number"
        for key, figure in ((f"{name}_mean", np.mean), (f"{name}_max", np.max)):
            block |= {key: float(figure(values))} if known else {key: None, f"{key}_why": why}
    return block


def _holds_shares(scores: Floats) -> bool:
    """Whether scores are probabilities already: a graph may end in a softmax."""
    return bool((scores >= 0).all() and (np.abs(scores.sum(-1) - 1) < _SUM).all())


def _log_shares(scores: Floats, *, as_shares: bool) -> Floats:
    with np.errstate(invalid="ignore"):  # NaN in, NaN out: the gate refuses it elsewhere
        if as_shares:
            return np.asarray(np.log(np.maximum(scores, np.finfo(np.float32).tiny)))
        shifted = scores - scores.max(-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _largest(one: Array, other: Array) -> Floats:
    gap = np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64))
    return np.asarray(gap.reshape(len(gap), -1).max(1, initial=0.0))
