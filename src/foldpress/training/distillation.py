"""Train a student beside teachers, from labelled and unlabelled samples; or alone, without any."""

from collections.abc import Mapping, Sequence

import torch

from foldpress.training.checkpoints import Checkpoint
from foldpress.training.loop import Constraint, train
from foldpress.training.losses import Loss
from foldpress.training.objective import Objective
from foldpress.training.plan import Plan
from foldpress.training.record import Trained
from foldpress.training.samples import Pool
from foldpress.training.teachers import Teacher


def distill(
    student: torch.nn.Module,
    pool: Pool,
    teachers: Sequence[Teacher],
    loss: Loss,
    plan: Plan,
    *,
    features: Mapping[str, str] | None = None,
    feature_weight: float = 1.0,
    decay: float = 0.99,
    output: int = 0,
    constraints: tuple[Constraint, ...] = (),
    checkpoint: Checkpoint | None = None,
    label: str = "training the student",
) -> Trained:
    """Train `student`, in place; see `Objective` and `train` for what the arguments mean and what is raised."""

    def prepare(module: torch.nn.Module) -> Objective:
        changing = plan.augment is not None
        return Objective(module, pool, loss, teachers, features=features, feature_weight=feature_weight, decay=decay,
                         output=output, changing=changing)  # fmt: skip

    return train(student, pool, prepare, plan, constraints=constraints, checkpoint=checkpoint, label=label)
