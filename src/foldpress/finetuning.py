"""Fine-tuning under masks and in factors: what is left out stays out, products stay products, and the rest makes up for it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from foldpress.data import Array
from foldpress.factor_tuning import factor_parameters
from foldpress.masked_network import MaskedNetwork
from foldpress.optimizer.by_layer import by_layer
from foldpress.optimizer.layers import weighted_layers
from foldpress.optimizer.passes import LogEntry, PassResult
from foldpress.optimizer.press import Press

if TYPE_CHECKING:
    from foldpress.codebook_tuning import Tuning
    from foldpress.exporter.origins import Place
    from foldpress.training.checkpoints import Checkpoint
    from foldpress.training.loop import Constraint
    from foldpress.training.losses import Loss
    from foldpress.training.plan import Plan
    from foldpress.training.record import Trained
    from foldpress.training.samples import Pool
    from foldpress.training.teachers import Teacher


def finetune(
    network: MaskedNetwork,
    press: Press,
    pool: "Pool",
    teachers: Sequence["Teacher"],
    loss: "Loss",
    plan: "Plan",
    *,
    gradual: bool = False,
    factors: bool = False,
    tuning: "Tuning | None" = None,
    checkpoint: "Checkpoint | None" = None,
    **heard: Any,
) -> PassResult:
    """Prune a network and train what is left of it.

    Args:
        network: it is changed in place.
        press: of its graph; says what to prune, and has the samples that pruning learns from.
        pool: what to train on.
        teachers: see `foldpress.training.distillation.distill`, as for what follows.
        loss: of a batch.
        plan: how long, how fast.
        gradual: let masks of single weights grow while it learns; else they are all there from the start.
        factors: let what `press` factorizes learn as products, so that it is found again at no error.
        tuning: of values that the weights which are left are to share, or None.
        checkpoint: where its state is kept.
        **heard: features that are compared, and the output that is learned.

    Returns:
        The float graph without what was pruned; products are multiplied out.

    Raises:
        ModelError: masked weights, or those of products, that cannot be traced to parameters.
        DivergedError: the loss is no number any more.
    """
    from foldpress.training.codebooks import write_back
    from foldpress.training.distillation import distill
    from foldpress.training.factors import Factored

    masks, repaired = press.masked()
    grows = gradual and press.prune is not None and press.prune.sparsity is not None
    stays = network.take(masks, press.model if grows else repaired.model)
    learned = factor_parameters(network, masks, press) if factors else ()
    constraints = _growing(network, press) if grows else _held(network, stays)
    trained = distill(network.module, pool, teachers, loss, plan, constraints=constraints, checkpoint=checkpoint,
                      label="fine-tuning under masks", **heard)  # fmt: skip
    if factors:
        write_back(network.module, Factored)
    if tuning is not None:
        tuning.run(network.module, _bits(network, tuning), pool, teachers, loss, plan, **heard)
    pruned = network.pruned(masks)
    return PassResult(pruned.model, (*repaired.log, *learned, _entry(trained, stays)))


def _held(network: MaskedNetwork, stays: Mapping[str, Array]) -> "tuple[Constraint, ...]":
    """What is left out stays out."""
    import torch

    from foldpress.training.factors import rest_of
    from foldpress.training.masking import Held

    known = dict(network.module.named_parameters())
    masks = {name if name in known else rest_of(name): torch.from_numpy(mask) for name, mask in stays.items()}
    return (Held(network.module, masks),)


def _growing(network: MaskedNetwork, press: Press) -> "tuple[Constraint, ...]":
    """What is left out is chosen while the network learns."""
    from foldpress.training.masking import Growing

    assert press.prune is not None  # noqa: S101  # else nothing grows
    stored = network.graph.graph.initializers
    return tuple(
        Growing(
            network.module, tuple(name for one in tensors for name in network.parameters(_read(stored[one]))), share
        )
        for share, tensors in press.prune.by_magnitude.parts(network.graph)
        if share
    )


def _entry(trained: "Trained", stays: Mapping[str, Array]) -> LogEntry:
    zeros = sum(int(mask.size - np.count_nonzero(mask)) for mask in stays.values())
    first, last = trained.losses[0][1], trained.losses[trained.epoch - 1][1]
    held = f"loss on what was held back {first:.4g} after the first epoch, {last:.4g} after the best"
    epochs = f"epoch {trained.epoch} of {len(trained.losses)} kept"
    detail = f"{zeros} numbers of {len(stays)} parameters stayed zero; {epochs}; {held}"
    return LogEntry("finetune", "graph", "done", detail)


def _bits(network: MaskedNetwork, tuning: "Tuning") -> dict[str, int]:
    """Of every weight that shares values, by its parameter's name."""
    layers = [layer.node for layer in weighted_layers(network.graph)[0]]
    own = by_layer("layers", tuning.layers, layers)
    usual = {name: tuning.bits for name, value in network.module.named_parameters() if value.ndim > 1}
    return usual | {name: bits for layer, bits in own.items() for name in network.parameters((layer, 1))}


def _read(stored: ir.Value) -> "Place":
    """One of the places where it is read."""
    use = next(iter(stored.uses()))
    return str(use.node.name), use.idx
