import logging
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from foldpress.data import Dataset
from foldpress.errors import DataError, FoldpressError, ModelError
from foldpress.exporter.export import export_model, export_source
from foldpress.graph import input_specs, serialize
from foldpress.runtime import open_session

pytest_plugins = ["trained"]
RNG = np.random.default_rng(0)


def floats(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(10, 4), nn.Linear(8, 3)

    def forward(self, words: Tensor, image: Tensor) -> dict[str, Tensor]:
        scores: Tensor = self.out(torch.cat([self.embed(words).mean(1), image], 1))
        return {"scores": scores, "label": scores.argmax(1)}


def test_digits_export_with_parity_on_real_samples(digits_folder: Path, digits_data: Dataset) -> None:
    """Catches: an exporter that is right on random tensors only, or at the exported batch size only."""
    exported = export_source("model:build", "weights.safetensors", digits_folder, digits_data)
    assert exported.parity.batches == (1, 7)
    assert exported.parity.samples == 64
    assert exported.parity.outputs[0].largest <= exported.parity.outputs[0].tolerance
    session = open_session(serialize(exported.graph))
    predicted = session.run(None, digits_data.renamed({"x": input_specs(exported.graph)[0].name}).batch(slice(None)))[0]
    assert (predicted.argmax(1) == digits_data.y).mean() > 0.97


def test_several_inputs_go_by_name_in_any_order() -> None:
    """Catches: inputs bound by position; a dictionary of outputs; an integer output."""
    data = Dataset({"image": floats(9, 4), "words": RNG.integers(0, 10, (9, 5))})
    exported = export_model(TwoInputs().eval(), data)
    specs = {spec.name: spec for spec in input_specs(exported.graph)}
    assert specs["image"].shape == (None, 4)
    assert specs["words"].dtype == np.int64
    assert len(exported.graph.graph.outputs) == 2


def test_the_same_model_gives_the_same_bytes(digits_folder: Path, digits_data: Dataset) -> None:
    """Catches: names with counters, paths and stack traces in the file."""
    twice = [
        serialize(export_source("model:build", "weights.safetensors", digits_folder, digits_data).graph)
        for _ in range(2)
    ]
    assert twice[0] == twice[1]
    assert str(digits_folder).encode() not in twice[0]


def test_the_exporters_chatter_stays_inside(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Catches: progress, warnings or log lines of the exporter on the user's terminal."""
    with caplog.at_level(logging.WARNING):
        export_model(nn.Linear(4, 2).eval(), Dataset({"x": floats(5, 4)}))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_fixed_batch_size_is_refused() -> None:
    """Catches: a graph that works at the exported batch size only."""

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(2, 4) if x.shape[0] == 2 else x * 2

    with pytest.raises(FoldpressError):
        export_model(Fixed().eval(), Dataset({"x": floats(5, 4)}))


def test_a_forward_that_raises_shows_its_own_line() -> None:
    """Catches: the user's exception swallowed, or drowned in ours."""

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("the kernel is too wide")

    with pytest.raises(ModelError, match=r"the kernel is too wide") as caught:
        export_model(Broken().eval(), Dataset({"x": floats(5, 4)}))
    assert 'raise ValueError("the kernel is too wide")' in str(caught.value)
    assert "foldpress/exporter" not in str(caught.value)


def test_wrong_names_and_types_are_told() -> None:
    """Catches: a PyTorch error about tensors where the data are at fault."""
    with pytest.raises(DataError, match=r"missing \['words'\], unknown \['text'\]"):
        export_model(TwoInputs().eval(), Dataset({"text": floats(3, 4), "image": floats(3, 4)}))
    with pytest.raises(DataError, match=r"float64, the model computes in float32"):
        export_model(nn.Linear(4, 2).eval(), Dataset({"x": floats(3, 4).astype(np.float64)}))


def test_one_sample_is_enough() -> None:
    """Catches: the sample axis taken for a constant when there is one sample."""
    graph = export_model(nn.Linear(4, 2).eval(), Dataset({"x": floats(1, 4)})).graph
    assert isinstance(graph.graph.inputs[0].shape, ir.Shape)
    assert input_specs(graph)[0].shape == (None, 4)
