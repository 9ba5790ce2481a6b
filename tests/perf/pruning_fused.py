"""One vision transformer in four forms, pruned: attention by single operators, by equations, fused by onnxruntime's tool, as ONNX's own.

The same weights compute the same in each, so pruning should find the same heads and neurons. 512 unlabelled training images of
CIFAR-10, no training, 5,000 test images scored. The tool knows attention by three matrices, as BERT has it; the exporter gives
one operator from opset 23 on. Usage: python tests/perf/pruning_fused.py
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("FOLDPRESS_SHARED", Path(__file__).parents[3] / "shared" / "data"))
os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
os.environ["FOLDPRESS_SHARED"] = str(SHARED)

import numpy as np  # noqa: E402
import onnx_ir as ir  # noqa: E402
import torch  # noqa: E402
from networks import ROOT, macs, scores  # type: ignore[import-not-found]  # noqa: E402  # beside this script
from pruning import pruned  # type: ignore[import-not-found]  # noqa: E402
from torch import nn  # noqa: E402

from foldpress.data import Dataset, fit_inputs  # noqa: E402
from foldpress.exporter import export  # noqa: E402
from foldpress.exporter.source import build_model  # noqa: E402
from foldpress.graph import input_specs  # noqa: E402
from foldpress.optimizer.cleanup import clean_up  # noqa: E402
from foldpress.optimizer.passes import apply  # noqa: E402
from foldpress.optimizer.transformer_fusion import FuseTransformer  # noqa: E402
from foldpress.sources import read_data  # noqa: E402

FOLDER, WEIGHTS = ROOT / "tests/data/vit", str(SHARED / "cifar10/vit.pth")
HEADS, WIDTH, BUDGET, CALIBRATION, DRAW = 8, 128, 0.8, 512, 6


class SpelledOut(nn.Module):
    """An encoder layer of torch's as single operators: [N, T, 128] to the same."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer, self.parts = layer, nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))
        packed = (getattr(layer.self_attn, f"in_proj_{name}").data.chunk(3) for name in ("weight", "bias"))
        for part, weight, bias in zip(self.parts, *packed, strict=True):
            part.weight.data, part.bias.data = weight.clone(), bias.clone()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        samples, steps, _ = x.shape
        q, k, v = (part(x).view(samples, steps, HEADS, -1).permute(0, 2, 1, 3) for part in self.parts)
        weights = torch.softmax(torch.matmul(q, k.transpose(-1, -2)) / (WIDTH / HEADS) ** 0.5, -1)
        mixed = torch.matmul(weights, v).permute(0, 2, 1, 3).reshape(samples, steps, WIDTH)
        x = self.layer.norm1(self.layer.self_attn.out_proj(mixed) + x)
        out: torch.Tensor = self.layer.norm2(self.layer.linear2(torch.relu(self.layer.linear1(x))) + x)
        return out


class ByEquation(nn.Module):
    """The same with torch.einsum: [N, T, 128] to the same."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer, out, size = layer, layer.self_attn.out_proj, WIDTH // HEADS
        parts: Any = SpelledOut(layer).parts
        self.weights = nn.ParameterList(part.weight.data.T.reshape(WIDTH, HEADS, size) for part in parts)
        self.biases = nn.ParameterList(part.bias.data.reshape(HEADS, 1, size) for part in parts)
        self.out = nn.Parameter(out.weight.data.T.reshape(HEADS, size, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.weights, self.biases, strict=True)
        q, k, v = (torch.einsum("btd,dhe->bhte", x, weight) + bias for weight, bias in pairs)
        weights = torch.softmax(torch.einsum("bhqe,bhke->bhqk", q, k) / (WIDTH / HEADS) ** 0.5, -1)
        mixed = torch.einsum("bhqk,bhke->bqhe", weights, v)
        x = self.layer.norm1(torch.einsum("bqhe,heo->bqo", mixed, self.out) + self.layer.self_attn.out_proj.bias + x)
        out: torch.Tensor = self.layer.norm2(self.layer.linear2(torch.relu(self.layer.linear1(x))) + x)
        return out


def main() -> None:
    """Print one row for each form."""
    train, test = (read_data(f"data:{part}", FOLDER) for part in ("load_train", "load"))
    print("| attention | MACs | left | accuracy before | after | flips | error |\n|---|---|---|---|---|---|---|")
    for name, graph in forms(test).items():
        seen, scored = (fit_inputs(data, input_specs(graph)) for data in (train, test))
        chosen = np.random.default_rng(DRAW).permutation(len(seen))[:CALIBRATION]
        made, _, _ = pruned(graph, seen.select(chosen), BUDGET, 4)
        before, after = scores(graph, scored), scores(made, scored)
        right = " | ".join(f"{(found.argmax(1) == scored.y).mean():.2%}" for found in (before, after))
        flips = (before.argmax(1) != after.argmax(1)).mean()
        error = np.square(after - before).mean() / before.var()
        print(
            f"| {name} | {macs(graph):,.0f} | {macs(made) / macs(graph):.1%} | {right} | {flips:.2%} | {error:.4f} |",
            flush=True,
        )


def forms(samples: Dataset) -> dict[str, ir.Model]:
    """The same network four times, cleaned up."""
    single = exported(network(SpelledOut), samples, 18)
    return {
        "single operators": single,
        "Einsum": exported(network(ByEquation), samples, 18),
        "com.microsoft.Attention": apply([FuseTransformer(heads=HEADS, width=WIDTH), *clean_up()], single).model,
        "Attention": exported(network(None), samples, 23),
    }


def network(form: Callable[[Any], nn.Module] | None) -> nn.Module:
    """The network with its encoder layers in another form, or as they are."""
    made = build_model("model:build", WEIGHTS, FOLDER).eval()
    if form is not None:
        encoder: Any = made.transformer
        made.transformer = nn.Sequential(*map(form, encoder.layers))
    return made


def exported(module: nn.Module, samples: Dataset, opset: int) -> ir.Model:
    export.OPSET = opset
    return apply(clean_up(), export.export_model(module, samples).graph).model


if __name__ == "__main__":
    if SHARED.is_dir():
        main()
    else:
        print(f"skipped: no trained weights in {SHARED}")
