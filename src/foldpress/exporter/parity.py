"""Does the exported graph compute what PyTorch computes, on real samples?

The tolerance is derived, not chosen. By backward error analysis (Higham, Accuracy and Stability of Numerical
Algorithms, 2002, §3.1; the probabilistic bound of Higham and Mary, SIAM J. Sci. Comput. 2019), an inner product of length
K computed in floating point is the exact one with weights perturbed relatively by about u·√K, u the unit roundoff. So
what legitimate rounding does to the outputs is seen by perturbing every weight that much and running PyTorch again:

    tolerance = margin · max |f(x; w ⊙ (1 + u √K ε)) − f(x; w)|,   ε = ±1 at random, several draws
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from foldpress.callables import user_code
from foldpress.data import Array, Dataset
from foldpress.errors import ParityError
from foldpress.exporter.source import as_tensors, flatten

_DRAWS = 4
# Two float32 computations may err in opposite directions (2), and a maximum over a few draws understates the one over all
# roundings (4 standard deviations where a draw shows one).
_MARGIN = 8.0

Forward = Callable[[dict[str, torch.Tensor]], Any]


@dataclass(frozen=True)
class OutputParity:
    """Deviation of one output from PyTorch's, over all samples and batch sizes tried."""

    output: str
    largest: float
    mean: float
    tolerance: float
    worst_sample: int


@dataclass(frozen=True)
class Parity:
    """What the comparison found. `differing` holds the samples whose prediction (argmax) changed."""

    samples: int
    batches: tuple[int, ...]
    outputs: tuple[OutputParity, ...]
    differing: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """The comparison as it stands in reports."""
        return asdict(self)


def torch_outputs(model: torch.nn.Module, dataset: Dataset) -> list[Array]:
    """PyTorch's outputs for all samples at once, flattened to a list, each [N, …].

    Raises:
        ModelError: the user's forward raised.
    """
    with torch.no_grad(), user_code("the model's forward"):
        return _arrays(model(**as_tensors(dataset.batch(slice(None)))))


def tolerances(model: torch.nn.Module, dataset: Dataset, reference: list[Array]) -> list[float]:
    """For each output, the largest deviation that float rounding explains."""
    feed = as_tensors(dataset.batch(slice(None)))
    generator = torch.Generator().manual_seed(0)
    largest = np.zeros(len(reference))
    for _ in range(_DRAWS):
        outputs = _perturbed_outputs(model, feed, generator)
        largest = np.maximum(largest, [_deviation(a, b).max() for a, b in zip(outputs, reference, strict=True)])
    # A network without weights still rounds once in each operation: a few units in the last place.
    floors = [_unit_roundoff(output.dtype) * np.abs(output).max(initial=0.0) for output in reference]
    return [float(_MARGIN * max(seen, floor)) for seen, floor in zip(largest, floors, strict=True)]


def compare(names: list[str], reference: list[Array], runs: dict[int, list[Array]], limits: list[float]) -> Parity:
    """Compare the graph's outputs, one list for each batch size tried, with PyTorch's.

    Raises:
        ParityError: an output deviates by more than rounding explains; names it and the sample.
    """
    found = []
    for position, (name, expected, limit) in enumerate(zip(names, reference, limits, strict=True)):
        for batch, outputs in runs.items():
            _check_shape(name, expected, outputs[position], batch)
        deviations = np.stack([_deviation(expected, outputs[position]) for outputs in runs.values()])
        worst = int(np.argmax(deviations.max(0)))
        parity = OutputParity(name, float(deviations.max()), float(deviations.mean()), limit, worst)
        if not parity.largest <= limit:
            raise ParityError(
                f"output {name} of the exported graph differs from PyTorch's by {parity.largest:.3g} at sample {worst}; "
                f"float rounding explains {limit:.3g}",
                mend="look for data-dependent control flow in forward, or in-place changes of its inputs",
            )
        found.append(parity)
    differing = {row for outputs in runs.values() for row in np.flatnonzero(_label(reference[0]) != _label(outputs[0]))}
    return Parity(len(reference[0]), tuple(runs), tuple(found), tuple(sorted(map(int, differing))))


def _arrays(outputs: Any) -> list[Array]:
    return [tensor.detach().numpy() for tensor in flatten(outputs)]


def _check_shape(name: str, expected: Array, actual: Array, batch: int) -> None:
    if expected.shape != actual.shape:
        raise ParityError(
            f"output {name} has shape {list(actual.shape)} at batch {batch}, PyTorch's has {list(expected.shape)}",
            mend="the sample axis must come first in every input and output, and stay free",
        )


@torch.no_grad()
def _perturbed_outputs(
    model: torch.nn.Module, feed: dict[str, torch.Tensor], generator: torch.Generator
) -> list[Array]:
    perturbed = {name: _rounded(value, generator) for name, value in model.named_parameters()}
    with user_code("the model's forward"):
        return _arrays(torch.func.functional_call(model, perturbed, kwargs=_nudged(feed, generator)))


def _rounded(weight: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if not weight.dtype.is_floating_point:
        return weight
    length = weight[0].numel() if weight.ndim > 1 else 1
    relative = _unit_roundoff(np.dtype(str(weight.dtype)[6:])) * length**0.5
    # In place, step by step: of a large model there should be two copies, not six.
    signs = torch.empty_like(weight).bernoulli_(0.5, generator=generator).mul_(2).sub_(1)
    return signs.mul_(relative).add_(1).mul_(weight)


def _nudged(feed: dict[str, torch.Tensor], generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {name: _rounded(x[:, None], generator)[:, 0] if x.dtype.is_floating_point else x for name, x in feed.items()}


def _unit_roundoff(dtype: "np.dtype[Any]") -> float:
    return float(np.finfo(dtype).eps) / 2 if dtype.kind == "f" else 0.0


def _deviation(a: Array, b: Array) -> Array:
    """Largest absolute difference of each sample, [N]; NaN against NaN is equal, against a number infinite."""
    a, b = a.astype(np.float64).reshape(len(a), -1), b.astype(np.float64).reshape(len(b), -1)
    with np.errstate(invalid="ignore"):
        difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    return np.asarray(np.nan_to_num(difference, nan=np.inf).max(1, initial=0.0))


def _label(output: Array) -> Array:
    """The prediction of each sample; one column is a regression, where none is counted."""
    scores = output.reshape(len(output), -1)
    return np.asarray(scores.argmax(1)) if scores.shape[1] > 1 else np.zeros(len(scores))
