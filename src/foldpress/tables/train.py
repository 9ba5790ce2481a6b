"""What `[distill]` and `[finetune]` have in common: whom to learn from, and how long and how fast."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from foldpress.tables.fields import Count, Positive, Share, Table

BASELINE, SELF = "baseline", "self"
CROSS_ENTROPY, SQUARED_ERROR = "cross-entropy", "squared-error"

Callable = Annotated[str, Field(pattern=r"^[^:]+:[^:]+$")]


class TeacherTable(Table):
    """A teacher: "baseline" (`[model]`), "self" (the student's moving average), module:callable, or an .onnx file."""

    source: str
    weights: str | None = None
    weight: Positive = 1.0
    classes: tuple[int, ...] | None = None

    @model_validator(mode="after")
    def _weights_fit_source(self) -> "TeacherTable":
        if ":" not in self.source and self.source not in (BASELINE, SELF) and not self.source.endswith(".onnx"):
            raise ValueError(f"teacher {self.source!r} is none of baseline, self, module:callable, file.onnx")
        if self.weights is not None and ":" not in self.source:
            raise ValueError(f"weights go with module:callable; {self.source!r} has its own")
        return self


def _as_teachers(given: Any) -> Any:
    """One teacher or several, each by its source or as a table."""
    several = given if isinstance(given, list | tuple) else [given]
    if not several:
        raise ValueError("there is none: name one, or leave the key out for [model]")
    return tuple({"source": one} if isinstance(one, str) else one for one in several)


class TrainTable(Table):
    """A training. Rates, sizes and shares are those of `foldpress.training.plan.Plan`."""

    teacher: Annotated[tuple[TeacherTable, ...], BeforeValidator(_as_teachers)] = (TeacherTable(source=BASELINE),)
    loss: Literal["cross-entropy", "squared-error"] | None = None  # None: by the task
    gamma: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.9
    temperature: Positive = 4.0
    ramp_up: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    unlabelled: str | None = None
    features: dict[str, str] = Field(default_factory=dict)
    feature_weight: Positive = 1.0
    epochs: Count = 30
    batch: Count = 64
    learning_rate: Positive = 1e-3
    held_back: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.1
    patience: Count | None = 10
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    optimizer: Callable | None = None
    schedule: Callable | None = None
    augment: Callable | None = None


class DistillTable(TrainTable):
    """`[distill]`: a student, trained beside teachers. None is the model itself, with its weights."""

    student: Callable | None = None
    weights: str | None = None
    decay: Share = 0.99

    @model_validator(mode="after")
    def _someone_to_learn_from(self) -> "DistillTable":
        if self.student is None and self.weights is not None:
            raise ValueError("weights are those that the student starts from: name the student, or leave them out")
        if self.student is None and all(one.source == BASELINE for one in self.teacher):
            raise ValueError(
                "the student is the model itself and has nothing to learn from it: name a student or a teacher"
            )
        return self


class FinetuneTable(TrainTable):
    """`[finetune]`: training under the masks of `[prune]`, and in the factors of `[factorize]`."""

    learning_rate: Positive = 2e-4  # a higher one undoes the repair first
    gradual: bool = False
    factors: bool = False

    @model_validator(mode="after")
    def _others_to_learn_from(self) -> "FinetuneTable":
        if any(one.source == SELF for one in self.teacher):
            raise ValueError("teacher = 'self' belongs to [distill]: the masked network would learn from what it lacks")
        return self
