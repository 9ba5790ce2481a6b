import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from foldpress.data import Dataset, Indices
from foldpress.graph import serialize
from foldpress.optimizer.press import Press
from foldpress.optimizer.pressed import Pressed
from foldpress.optimizer.prune import Prune
from foldpress.optimizer.ranges import Method
from foldpress.optimizer.reuse import reused_or_collected
from foldpress.optimizer.samples import shortage
from foldpress.optimizer.targets import TARGETS
from foldpress.precision import Precision

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype(np.float32)
NUMBERS = np.arange(40)[None] % 4


def network() -> ir.Model:
    proto = onnx.parser.parse_model("""<ir_version: 9, opset_import: ["" : 18]> g (float[N, 6] x) => (float[N, 5] y) {
        [first] h = MatMul (x, w)  r = Relu (h)  [last] y = MatMul (r, v) }""")
    generator = np.random.default_rng(1)
    for name, shape in (("w", (6, 8)), ("v", (8, 5))):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(generator.normal(size=shape).astype("f4"), name))
    model: ir.Model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    return model


def kept(store: Path | None) -> dict[str, Any]:
    return {} if store is None else {"statistics": partial(reused_or_collected, store)}


def press(store: Path | None, *, x: np.ndarray = X, numbers: Indices = NUMBERS, method: Method = "percentile") -> Press:
    target = TARGETS["x86-vnni"]
    data = Dataset({"x": x})
    return Press(network(), data, numbers, prune=None, target=target, ranges=method, weights=(), **kept(store))


def graph_of(pressed: Pressed) -> bytes:
    assert pressed.quantized is not None
    return serialize(pressed.quantized)


@pytest.fixture
def collections(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every pass over the data."""
    from foldpress.optimizer import activations

    passes: list[int] = []
    plain = activations._observe_group

    def counted(*arguments: object) -> object:
        passes.append(1)
        return plain(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(activations, "_observe_group", counted)
    return passes


def test_stored_statistics_are_not_collected_again(tmp_path: Path, collections: list[int]) -> None:
    """Catches: a second pass over the data; another graph from saved statistics than from those in memory."""
    store = tmp_path / "statistics.npz"
    first = press(store)
    first.collect()
    again = press(store)
    again.collect()  # as the choice of a precision does, after --resume
    assert graph_of(again.without(2)) == graph_of(first.without(2)) == graph_of(press(None).without(2))
    assert graph_of(again.ship()) == graph_of(first.ship())
    assert len(collections) == 2  # the first, and the one without a store


@pytest.mark.parametrize("change", ["samples", "folds", "kind", "damaged"])
def test_statistics_of_something_else_are_collected_again(
    change: str, tmp_path: Path, collections: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """Catches: a stale file that is trusted, one that is passed over in silence, one that is not replaced."""
    store = tmp_path / "statistics.npz"
    press(store).collect()
    changes: dict[str, dict[str, Any]] = {
        "samples": {"x": X + 1}, "folds": {"numbers": NUMBERS[:, ::-1]}, "kind": {"method": "minmax"}, "damaged": {},
    }  # fmt: skip
    if change == "damaged":
        store.write_bytes(store.read_bytes()[:-50])
    with caplog.at_level(logging.INFO, "foldpress"):
        press(store, **changes[change]).ship()
        press(store, **changes[change]).ship()
    assert len(collections) == 2
    assert [record.message.split(":")[0] for record in caplog.records if store.name in record.message] == [
        "statistics.npz is not reused",
        "statistics.npz",
    ]


def test_a_shortage_is_said() -> None:
    """Catches: fewer samples than were asked for, in silence; a complaint where there are enough."""
    one_fold, folds = np.zeros((1, 30), np.intp), np.array([[0] * 10 + [1] * 12 + [2] * 8])
    assert shortage(one_fold, 30) == shortage(folds, 18) == ()
    assert [entry.detail for entry in shortage(one_fold, 512)] == ["asked for 512, 30 available"]
    assert [entry.detail for entry in shortage(folds, 19)] == ["asked for 19, 18 available when a fold is left out"]


def test_only_what_learns_needs_samples() -> None:
    """Catches: dynamic int8, or pruning by size alone, said to lack samples that it never reads."""
    data = Dataset({"x": X})
    cases = [
        (None, TARGETS["x86"], "static", True),
        (None, TARGETS["x86"], "dynamic", False),
        (Prune("2:4"), None, "static", False),
        (Prune("structured", macs=0.5), None, "static", True),
    ]
    for prune, target, precision, learns in cases:
        made = Press(network(), data, NUMBERS, prune=prune, target=target, precision=Precision(precision))  # type: ignore[arg-type]
        assert made.learns is learns


def test_pruned_float16_in_every_repeat() -> None:
    """Catches: a round's own statistics, which are of one repeat, read at the number of the round's repeat."""
    numbers = np.stack([NUMBERS[0], NUMBERS[0, ::-1]])
    asked = Prune("structured", macs=0.5, multiple=1)
    made = Press(
        network(), Dataset({"x": X}), numbers, prune=asked, target=TARGETS["x86"], precision=Precision("float16")
    )
    first, second = (graph_of(made.without(fold, repeat)) for fold, repeat in ((0, 0), (3, 1)))
    assert first == second  # both leave out the same samples


def test_a_part_leaves_float_what_the_whole_does() -> None:
    """Catches: a part that is timed in float, because a layer that is to stay float is elsewhere; another part's last layer."""
    data = Dataset({"x": X})
    whole = Press(network(), data, NUMBERS, target=TARGETS["x86"], keep_float=["last"])
    part = network()
    part.graph.remove([node for node in part.graph if node.name == "last"], safe=False)
    part.graph.outputs[:] = [next(node for node in part.graph if node.op_type == "Relu").outputs[0]]
    quantized = [node.op_type for node in whole.rough(part, data).graph]
    assert quantized.count("QuantizeLinear") + quantized.count("DynamicQuantizeLinear") > 0
