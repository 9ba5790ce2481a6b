import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from depthwise import network, outputs, samples
from foldpress.errors import RequestError
from foldpress.graph import copy_graph, initializer, set_initializer
from foldpress.optimizer.gram import GramStatistics, collect_grams
from foldpress.optimizer.layers import weighted_layers
from foldpress.optimizer.passes import PassResult, apply
from foldpress.optimizer.share import Share, ShareWeights

MODEL, DATA = network(), samples()
LAYERS = weighted_layers(MODEL)[0]
NUMBERS = np.arange(len(DATA))[None] % 3


@pytest.fixture(scope="module")
def grams() -> GramStatistics:
    return collect_grams(MODEL, [layer.slot for layer in LAYERS], DATA, NUMBERS)


def shared(asked: Share, grams: GramStatistics) -> PassResult:
    return apply([ShareWeights(asked, grams.all())], MODEL)


def values(result: PassResult, name: str) -> int:
    layer = {layer.name: layer for layer in weighted_layers(result.model)[0]}[name]
    return len(np.unique(layer.matrices(result.model)))


@pytest.mark.parametrize(("asked", "most"), [(Share(4), 16), (Share(2), 4), (Share(1, method="binary"), 2),
                                             (Share(2, method="ternary"), 3)])  # fmt: skip
def test_every_layer_is_left_with_few_values(asked: Share, most: int, grams: GramStatistics) -> None:
    """Catches layers of some layout that are left out, and more values than bits can name."""
    result = shared(asked, grams)
    assert all(values(result, layer.name) <= most for layer in LAYERS)
    assert {entry.subject for entry in result.log} == {layer.name for layer in LAYERS}


def test_a_layer_may_have_bits_of_its_own(grams: GramStatistics) -> None:
    """Catches: bits of one layer given to all, or to none."""
    result = shared(Share(2, layers={"first": 5, LAYERS[1].name: 3}), grams)
    assert 4 < values(result, LAYERS[0].name) <= 32
    assert 4 < values(result, LAYERS[1].name) <= 8
    assert all(values(result, layer.name) <= 4 for layer in LAYERS[2:])


def test_more_bits_are_closer(grams: GramStatistics) -> None:
    """Catches values that do not reach the layers in their own order of channels."""
    original = outputs(MODEL, DATA)
    errors = [np.square(outputs(shared(Share(bits), grams).model, DATA) - original).mean() for bits in (1, 3, 6)]
    assert errors[0] > 4 * errors[1] > 16 * errors[2]


def test_pruned_weights_stay_zero_and_take_one_of_the_values(grams: GramStatistics) -> None:
    """Catches sparsity that is lost, and a fifth value at two bits."""
    model = copy_graph(MODEL)
    layer = weighted_layers(model)[0][-1]
    weight = np.array(initializer(model, layer.weight))
    weight[np.random.default_rng(0).random(weight.shape) < 0.7] = 0
    set_initializer(model, str(layer.weight.name), weight)
    result = apply([ShareWeights(Share(2), grams.all())], model)
    found = np.array(initializer(result.model, result.model.graph.initializers[str(layer.weight.name)]))
    np.testing.assert_array_equal(found == 0, weight == 0)
    assert len(np.unique(found)) == 4


def test_layers_are_left_alone_by_name_operator_and_place(grams: GramStatistics) -> None:
    """Catches a first layer that is not the first, and a name that nobody has."""
    kept = Share(2, keep_float=("first", "last", LAYERS[1].name))
    declined = {entry.subject for entry in shared(kept, grams).log if entry.action == "declined"}
    assert declined == {LAYERS[0].name, LAYERS[1].name, LAYERS[-1].name}
    with pytest.raises(RequestError, match="(?s)'Covn'.*available: Conv"):
        shared(Share(keep_float=("Covn",)), grams)


def test_the_bias_makes_up_for_the_mean(grams: GramStatistics) -> None:
    """Catches outputs whose mean is off, as binary weights have them."""
    made = shared(Share(1), grams).model
    for name in ("node_c1", "node_m", "node_y"):  # grouped, with an Add behind it, and transposed
        np.testing.assert_allclose(mean_output(made, name, grams), mean_output(MODEL, name, grams), atol=1e-5)


def mean_output(model: ir.Model, name: str, grams: GramStatistics) -> NDArray[np.float64]:
    layer = {layer.name: layer for layer in weighted_layers(model)[0]}[name]
    gram = grams.all()[name].reshape(layer.groups, *grams.all()[name].shape[-2:])
    means = gram[:, -1, :-1] / gram[:, -1, -1:]
    bias = np.asarray(initializer(model, layer.bias(model)))
    return np.asarray((layer.matrices(model) @ means[..., None]).ravel() + bias)


def test_what_is_shared_already_stays(grams: GramStatistics) -> None:
    """Catches codebooks fine-tuned by training that are replaced by others."""
    once = shared(Share(3), grams).model
    again = apply([ShareWeights(Share(3), grams.all())], once)
    assert all(entry.action == "declined" for entry in again.log)


def test_without_statistics_all_inputs_count_the_same() -> None:
    """Catches a layer that was not observed and breaks the pass."""
    result = apply([ShareWeights(Share(4), {})], MODEL)
    assert all(values(result, layer.name) <= 16 for layer in LAYERS)
    assert all("not observed" in entry.detail for entry in result.log if entry.action == "done")
