"""Shared weights without training: what 1 to 8 bits cost LeNet-300-100 and LeNet-5, and how small the file packs.

Networks and images are those of models/lenet (train.py writes the weights; FOLDPRESS_NETWORKS names their folder, FOLDPRESS_FASHION
that of the images). Values are fitted on 2,048 training images and judged on the 10,000 held out: errors before and after, the
drop with its bound (Tango, 95 %), bytes of the packed file, and of that the indices' against their empirical entropy. At the end,
what each step of the fit is worth.
Usage: python tests/perf/shared_weights.py [network …]
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1"}

import onnx_ir as ir

import foldpress
from foldpress.codebook_weights import entropy
from foldpress.graph import load_graph
from foldpress.optimizer import codebook
from foldpress.stored_weights import stored_weight

MODELS = Path(__file__).parents[2] / "models/lenet"
WEIGHTS = Path(os.environ.get("FOLDPRESS_NETWORKS", MODELS))
NETWORKS = {"lenet-300-100": "model:lenet_300_100", "lenet-5": "model:lenet_5"}
SAMPLES = 2048
INDICES = (ir.DataType.UINT2, ir.DataType.UINT4, ir.DataType.UINT8)
CODED = 1024  # bytes; smaller tensors are compressed with all the rest
ASKED: list[dict[str, Any]] = [
    {"method": "binary", "per": "channel"}, {"method": "ternary", "per": "channel"}, {"method": "ternary"},
    *({"bits": bits} for bits in (1, 2, 3, 4, 6, 8)), *({"bits": bits, "per": "channel"} for bits in (1, 2, 4)),
]  # fmt: skip
WITHOUT_ORDER = [{"bits": 1}, {"bits": 2}, {"bits": 3}, {"bits": 4}]


def main(networks: list[str]) -> None:
    """One table for each network."""
    os.chdir(MODELS)  # where data and model are found
    for network in networks:
        with tempfile.TemporaryDirectory(prefix="foldpress.") as folder:
            exported = Path(folder) / "exported.onnx"
            weights = str(WEIGHTS / f"{network}.safetensors")
            foldpress.export(NETWORKS[network], exported, data="data:load", weights=weights)
            size = foldpress.pack(exported)
            print(f"{network}: float32 {size.unpacked_bytes:,} bytes, packed {size.bytes:,}")
            for asked in ASKED:
                print(line(exported, asked), flush=True)
            print("values refitted, but every weight nearest to its own, no order:")
            codebook._ROUNDS = 0
            for asked in WITHOUT_ORDER:
                print(line(exported, asked), flush=True)
            codebook._ROUNDS = 2


def line(exported: Path, asked: dict[str, Any]) -> str:
    """What one way of sharing gives."""
    shared = exported.with_name("shared.onnx")
    foldpress.share(exported, shared, data="data:load_train", samples=SAMPLES, **asked)
    test = foldpress.validate(exported, shared, data="data:load", limits={"max_drop": 0.005})["accuracy"]["test"]
    packed = foldpress.pack(shared)
    stored = places(load_graph(shared))
    best = sum(entropy(array) * array.size / 8 for array in stored.values())
    taken = sum(row["packed_bytes"] for row in packed.tensors if row["name"] in stored)
    name = " ".join(str(value) for value in asked.values())
    errors = (
        f"error {1 - test['baseline']:.2%} → {1 - test['artifact']:.2%}, bound of the drop {test['drop_upper']:.2%}"
    )
    return (
        f"  {name:16} {errors}; file {packed.unpacked_bytes:9,}, packed {packed.bytes:8,} bytes; "
        f"indices {taken:8,.0f} for an entropy of {best:8,.0f}: {taken / best - 1:+.1%}"
    )


def places(model: ir.Model) -> dict[str, Any]:
    """The stored indices that are long enough to be coded by themselves, by name."""
    found = {}
    for node in model.graph:
        value = stored_weight(model, node.inputs[1]) if node.op_type in ("Conv", "Gemm", "MatMul") else None
        if value is None or value.const_value is None or value.dtype not in INDICES:
            continue
        if value.const_value.nbytes >= CODED:
            found[str(value.name)] = value.const_value.numpy().astype(int)
    return found


if __name__ == "__main__":
    main(sys.argv[1:] or list(NETWORKS))
