"""Make every layer behind a cut correct what has gone wrong before it: least squares against the original network.

Layers are taken in graph order. Each sees what the pruned network gives it by then, x [D], and is changed so that the value v
that it adds to comes closest to that of the original network, v*:

    min over ΔW, Δb of  E ‖v + ΔW x + Δb − v*‖² + λ ‖ΔW‖²

v is the layer's output, or the residual sum that it goes into: then the layer also makes up for the error of the other branch.
Where a rectifier follows, values below zero need only stay below: the target is v* where v* > 0, elsewhere min(v, 0),
solved anew as v moves. (Zhang et al. 2015, arXiv:1505.06798, §2.2 and §2.3; He et al. 2017, arXiv:1707.06168, §3.2.)
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from foldpress.data import Dataset, Indices
from foldpress.optimizer.frontier import Frontier
from foldpress.optimizer.gates import add_gates, is_gate, remove_gates, store_gates, weighted_node, with_gates
from foldpress.optimizer.gram import PLACES, features, outputs, rows
from foldpress.optimizer.joint import fit_together
from foldpress.optimizer.layers import Layer, Matrices
from foldpress.optimizer.pairs import Pair, pair_of
from foldpress.optimizer.patches import Rows
from foldpress.optimizer.places import Place, aim, has_bias, places
from foldpress.optimizer.side_by_side import original_name

# Ridge λ relative to the mean feature energy. Places of one image are alike, so that there are fewer samples than rows: on
# ResNet-20, 0.01 to 0.1 leave 3 % less error on unseen images than 0.0001.
_RIDGE = 0.03
_ROUNDS = 2  # of targets behind a rectifier; on ResNet-20, more change nothing
_ROWS_BYTES = 2**28  # of what is kept of one layer's inputs and outputs


def reconstruct(
    original: ir.Model,
    pruned: ir.Model,
    kept: Mapping[str, Indices],
    samples: Dataset,
    settle: Callable[[Layer, Rows], None] | None = None,
    *,
    together: bool = True,
) -> None:
    """Change the weights of `pruned`, in place.

    Args:
        original: the graph with shapes that `pruned` was made of.
        pruned: the same graph, where the weights of features that go are zero.
        kept: features that stay, for every layer that loses some, by name.
        samples: without labels.
        settle: may change each layer once more before the layers behind it are set right. It gets what the layer sums over,
            [n, G, D], with a last feature of ones where the layer has a place for a bias. What it has settled stays: no
            layer is then fitted together with the one before it.
        together: whether layers that lose features are fitted together with the one before them.
    """
    networks = Frontier(with_gates(original), pruned, samples)
    add_gates(pruned)
    found = [place for place in places(pruned, kept) if len(place.kept)]  # what has no feature left is to go
    alone = settle is not None or not together
    pairs = [None if alone or place.layer.name not in kept else pair_of(pruned, place, kept) for place in found]
    for number, (place, pair) in enumerate(zip(found, pairs, strict=True)):
        networks = _advanced(networks, found[number:], pairs[number:])
        inputs, given, wanted = _observed(networks, place)
        if not inputs.shape[2]:
            continue  # all that it had is gone, and it has no bias
        _change(pruned, place, solve(inputs, given, wanted, rectified=place.rectified))
        if settle is not None:
            settle(place.layer, inputs)
        elif pair is not None:
            fit_together(pair, networks)
        store_gates(pruned)
    remove_gates(pruned)


def _advanced(networks: Frontier, left: Sequence[Place], pairs: Sequence[Pair | None]) -> Frontier:
    """In front of the layers that are left to be repaired, and of those that they are fitted together with."""
    firsts = [pair.first for pair in pairs if pair is not None]
    layers = [*(place.layer for place in left), *firsts]
    wanted = [*(layer.input for layer in layers), *(place.value for place in left)]
    return networks.advanced(wanted, {weighted_node(layer.node) for layer in layers})


def _change(model: ir.Model, place: Place, change: Matrices) -> None:
    """Add [G, D, M] to what a layer stores, in place; a last feature is that of its bias."""
    weight, width = place.layer.matrices(model), len(place.kept)
    weight[..., place.kept] += change[:, :width].swapaxes(1, 2)
    place.layer.store(model, weight)
    if change.shape[1] > width:
        place.layer.add_to_bias(model, change[:, width].ravel())


def solve(inputs: Rows, given: Rows, wanted: Rows, *, rectified: bool) -> Matrices:
    """The change of weights, [G, D, M], that takes `given` to `wanted`, both [n, G, M], for inputs [n, G, D]."""
    x, v, target = (np.ascontiguousarray(part.swapaxes(0, 1)) for part in (inputs, given, wanted))
    hessian = (x.swapaxes(1, 2) @ x).astype(np.float64) / len(inputs)
    energy = np.trace(hessian, axis1=1, axis2=2)[:, None, None]
    ridge = np.maximum(_RIDGE * energy / x.shape[2], np.finfo(np.float32).tiny)
    hessian += np.eye(x.shape[2]) * ridge
    change = _step(hessian, x, target - v)
    for _ in range(_ROUNDS if rectified else 0):
        reached = v + x @ change.astype(np.float32)
        change = _step(hessian, x, aim(reached, target, rectified=True) - v)
    return change


def _step(hessian: Matrices, x: Rows, gap: Rows) -> Matrices:
    products = (x.swapaxes(1, 2) @ gap).astype(np.float64) / x.shape[1]
    return np.asarray(np.linalg.solve(hessian, products))


def _observed(networks: Frontier, place: Place) -> tuple[Rows, Rows, Rows]:
    """What the layer sums over, the value it adds to, and that value in the original network: [n, G, …] each."""
    pruned, samples = networks.changed, networks.samples
    layer, value = place.layer, str(place.value.name)
    names = [str(layer.input.name), value, original_name(value)]
    if is_gate(layer.node):
        names.append(original_name(names[0]))
    parts: list[list[Rows]] = [[] for _ in names]
    width = features(layer.slot) * layer.groups + 2 * layer.matrices(pruned).size // features(layer.slot)
    count = max(1, min(PLACES, _ROWS_BYTES // (4 * width * len(samples))))
    for tensor, position, values in networks.observe(names):
        if tensor in (1, 2):
            drawn = outputs(layer.slot, values, position, count)
            parts[tensor].append(drawn.reshape(-1, layer.groups, drawn.shape[-1] // layer.groups))
        else:
            drawn = rows(layer.slot, values, position, count)
            drawn = drawn.reshape(-1, layer.groups, drawn.shape[-1])[..., place.kept]
            parts[tensor].append(_with_constant(pruned, layer, drawn))
    inputs, given, wanted, *taught = (np.concatenate(part) for part in parts)
    return _taught(pruned, place, inputs, given, wanted, *taught) if taught else (inputs, given, wanted)


def _taught(
    model: ir.Model, place: Place, inputs: Rows, given: Rows, wanted: Rows, sound: Rows
) -> tuple[Rows, Rows, Rows]:
    """The same rows again with what the original network would give the layer, as far as the layer still reads it.

    A recurrent layer makes its own inputs, so that to repair it moves what it was repaired for. With its own states alone, the
    LSTM for spoken digits is left with 15 % more error at half of the MACs.
    """
    weight = place.layer.matrices(model)[..., place.kept].astype(np.float32)
    more = np.einsum("ngd,gmd->ngm", sound, weight, optimize=True)
    return np.concatenate([inputs, sound]), np.concatenate([given, more]), np.concatenate([wanted, wanted])


def _with_constant(model: ir.Model, layer: Layer, inputs: Rows) -> Rows:
    """A last feature of ones where the layer has a place for a bias."""
    if not has_bias(model, layer):
        return inputs
    return np.concatenate([inputs, np.ones((*inputs.shape[:2], 1), np.float32)], axis=2)
