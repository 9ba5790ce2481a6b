"""The recipe: frozen, typed, unknown keys refused with the nearest known name."""

import difflib
import math
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from foldpress.benchmark.plan import LatencyPlan, latency_plans, split_providers
from foldpress.errors import RecipeError, RequestError
from foldpress.precision import PrecisionName, choose_precision
from foldpress.schemes import Scheme
from foldpress.weight_passes import choose_weights

_BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_MILLISECONDS = {"": 1.0, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}


def _quantity(units: dict[str, Any], kind: str) -> BeforeValidator:
    """Read `12`, `"500 kB"` or `"5 ms"` in the first unit's terms."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        matched = re.fullmatch(r"\s*([0-9.eE+-]+)\s*([a-zA-Zµ]*)\s*", value)
        if not matched or matched[2].lower() not in units:
            raise ValueError(f"{value!r} is no {kind}; units: {', '.join(filter(None, units))}")
        return float(matched[1]) * units[matched[2].lower()]

    return BeforeValidator(read)


_BUDGETS = {
    "structured": ("macs", "parameters", "bytes", "latency", "max_drop"),
    "unstructured": ("sparsity", "threshold"),
    "2:4": (),
}

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]  # strict: `true` is no limit of 1
Bytes = Annotated[Limit, _quantity(_BYTES, "size")]
Milliseconds = Annotated[Limit, _quantity(_MILLISECONDS, "duration")]
Count = Annotated[int, Field(ge=1)]
Counts = Annotated[
    tuple[Count, ...],
    Field(min_length=1),
    BeforeValidator(lambda given: given if isinstance(given, list | tuple) else (given,)),
]
OptionValue = Annotated[str, BeforeValidator(lambda given: str(given) if isinstance(given, int | float) else given)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class ModelTable(_Table):
    """`[model]`: where the network comes from."""

    source: str
    weights: str | None = None

    @model_validator(mode="after")
    def _weights_fit_source(self) -> "ModelTable":
        if self.weights is not None and self.source.endswith(".onnx"):
            raise ValueError("weights go with module:callable; an .onnx file holds its own")
        return self


class DataTable(_Table):
    """`[data]`: what it is judged on."""

    source: str
    train: str | None = None
    task: str = "classification"
    metric: str | None = None
    output: Annotated[int, Field(ge=0, strict=True)] | str | None = None

    @model_validator(mode="after")
    def _known_task(self) -> "DataTable":
        if self.task not in ("classification", "regression") and ":" not in self.task:
            raise ValueError(f"task {self.task!r} is none of classification, regression, module:callable")
        if self.metric is not None and self.metric not in ("f1", "auc") and ":" not in self.metric:
            raise ValueError(f"metric {self.metric!r} is none of f1, auc, module:callable")
        return self


class FoldsTable(_Table):
    """`[folds]`: which sample may be seen when. `scheme` None: stratified for classes, else kfold.

    `refit` names what trains the network anew without a fold: `module:callable`.
    """

    splits: Annotated[int, Field(ge=2)] = 5
    scheme: Scheme | None = None
    repeats: Count = 1
    refit: Annotated[str, Field(pattern=r"^[^:]+:[^:]+$")] | None = None
    test: Share = 0.2
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _folds_to_refit_in(self) -> "FoldsTable":
        if self.refit is not None and self.scheme == "holdout":
            raise ValueError("refit trains anew in each fold, and scheme = 'holdout' has none")
        return self


class PruneTable(_Table):
    """`[prune]`: what is cut, and down to which budget; exactly one budget."""

    method: Literal["structured", "unstructured", "2:4"] = "structured"
    macs: Share | None = None
    parameters: Share | None = None
    bytes: Share | None = None
    latency: Share | None = None
    max_drop: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    protect: tuple[str, ...] = ()
    score: Literal["obs", "activation", "magnitude", "l1"] = "obs"
    sparsity: Share | None = None
    threshold: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> "PruneTable":
        allowed = _BUDGETS[self.method]
        given = [name for names in _BUDGETS.values() for name in names if getattr(self, name) is not None]
        if not set(given) <= set(allowed) or len(given) != min(1, len(allowed)):
            wants = f"exactly one of {', '.join(allowed)}" if allowed else "no budget: it always leaves half"
            raise ValueError(f"method = {self.method!r} takes {wants}; given: {', '.join(given) or 'none'}")
        for name in ("protect", "score"):
            if name in self.model_fields_set and self.method != "structured":
                raise ValueError(f"method = {self.method!r} takes no {name}: it removes no channels")
        return self


class QuantizeTable(_Table):
    """`[quantize]`: integer types by target, ranges from calibration samples."""

    target: Literal["auto", "x86-vnni", "x86", "arm", "tensorrt", "qnn"] = "auto"
    precision: PrecisionName = "auto"
    bits: Annotated[int, Field(ge=1, le=8, strict=True)] | None = None
    calibration: Literal["auto", "minmax", "percentile", "entropy", "mse"] = "auto"
    samples: Count = 512
    keep_float: tuple[str, ...] = ()
    float_macs: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    weight_passes: str | tuple[str, ...] = "auto"
    keep_metadata: bool = False

    @model_validator(mode="after")
    def _options_go_together(self) -> "QuantizeTable":
        try:
            choose_precision(self.precision, self.bits, self.calibration, self.keep_float, self.float_macs)
            choose_weights(self.weight_passes, self.precision)
        except RequestError as error:
            raise ValueError(str(error)) from error
        return self


class BenchmarkTable(_Table):
    """`[benchmark]`: where and how latency is taken; a provider may be a table of its name and options."""

    providers: Annotated[tuple[str, ...], Field(min_length=1)] = ("CPUExecutionProvider",)
    provider_options: dict[str, dict[str, OptionValue]] = {}
    batches: Counts = (1,)
    threads: Counts = (1,)
    processes: Count = 8
    seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    half_width: Share | None = None

    @model_validator(mode="before")
    @classmethod
    def _options_beside_names(cls, given: Any) -> Any:
        """`{name = "…", options = {…}}` among the providers becomes a name, and an entry of `provider_options`."""
        if not isinstance(given, dict) or "providers" not in given:
            return given
        names, options = split_providers(given["providers"], given.get("provider_options", {}))
        return {**given, "providers": names, "provider_options": options}

    @model_validator(mode="after")
    def _options_of_providers(self) -> "BenchmarkTable":
        if len(set(self.providers)) < len(self.providers):
            raise ValueError("the same provider twice; a run has one set of options for each")
        if strangers := set(self.provider_options) - set(self.providers):
            raise ValueError(f"provider_options of {', '.join(sorted(strangers))}, which is not among the providers")
        return self

    def first_provider(self) -> dict[str, Any]:
        """The provider that graphs are judged on, as arguments of `open_session`."""
        return {"provider": self.providers[0], "provider_options": self.provider_options.get(self.providers[0], {})}

    def plans(self, seed: int) -> list[LatencyPlan]:
        """The whole grid; the first cell is where precisions are compared."""
        return latency_plans(self.providers, self.batches, self.threads, self.provider_options, processes=self.processes,
                             seconds=self.seconds, seed=seed, half_width=self.half_width)  # fmt: skip


class GateTable(_Table):
    """`[gate]`: the limits. Each is optional; at least one must be there."""

    max_drop: Limit | None = None
    confidence: Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)] = 0.95
    max_flips: Limit | None = None
    max_class_drop: Limit | None = None
    max_metric_drop: Limit | None = None
    min_speedup: Limit | None = None
    max_bytes: Bytes | None = None
    max_latency_p90: Milliseconds | None = None
    max_disagreement: Limit | None = None

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        given = self.model_dump(exclude={"confidence"}, exclude_none=True)
        return {name: float(limit) for name, limit in given.items()}

    def required(self) -> "GateTable":
        """Itself, when at least one limit is set.

        Raises:
            RecipeError: a gate without a limit would let everything through.
        """
        if not self.limits():
            raise RecipeError(
                "no limit is set: a gate without one would let everything through",
                available=", ".join(name for name in GateTable.model_fields if name != "confidence"),
                mend="set at least one, for example max_drop = 0.01",
            )
        return self


class Recipe(_Table):
    """A whole job."""

    model: ModelTable
    data: DataTable
    folds: FoldsTable = FoldsTable()
    prune: PruneTable | None = None
    quantize: Annotated[QuantizeTable | None, BeforeValidator(lambda given: None if given is False else given)] = (
        QuantizeTable()
    )
    benchmark: BenchmarkTable = BenchmarkTable()
    gate: GateTable
    _folder: Path = PrivateAttr(default=Path())
    _name: str = PrivateAttr(default="recipe.toml")

    @property
    def folder(self) -> Path:
        """Where the recipe stands: its paths and modules are found there."""
        return self._folder

    @property
    def path(self) -> Path:
        """The recipe's own file."""
        return self._folder / self._name


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a TOML recipe; `overrides` are KEY=VALUE with dotted keys and TOML values.

    Raises:
        RecipeError: no such file, not TOML, an unknown key, a value out of range, no limit at all.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "recipe.toml"
    if not path.is_file():
        found = ", ".join(sorted(file.name for file in path.parent.glob("*.toml"))) if path.parent.is_dir() else ""
        raise RecipeError(f"there is no recipe {path}", available=found or "no .toml there", mend="foldpress init DIR")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error
    for override in overrides:
        _override(document, override)
    return make_recipe(document, path.parent, path.name)


def make_recipe(document: dict[str, Any], folder: Path, name: str = "recipe.toml") -> Recipe:
    """Check a recipe given as nested dictionaries; its paths are relative to `folder`.

    Raises:
        RecipeError: as for `load_recipe`.
    """
    try:
        recipe = Recipe.model_validate(document)
    except ValidationError as error:
        raise RecipeError("the recipe is wrong:\n" + "\n".join(f"  {_told(one)}" for one in error.errors())) from error
    recipe.gate.required()
    recipe._folder, recipe._name = folder.resolve(), name  # where it stands is not part of what it says
    return recipe


def make_prune_table(**given: Any) -> PruneTable:
    """A `[prune]` table from options.

    Raises:
        RecipeError: the method is unknown, or does not take that budget.
    """
    try:
        return PruneTable(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise RecipeError("\n".join(_told(one) for one in error.errors())) from error


def _override(document: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise RecipeError(f"--set {override!r} is not KEY=VALUE", mend="for example --set gate.max_drop=0.02")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *tables, last = key.strip().split(".")
    for table in tables:
        document = document.setdefault(table, {})
        if not isinstance(document, dict):
            raise RecipeError(f"--set {override!r}: {table} is no table")
    document[last] = value


def _told(error: Any) -> str:
    """One line for one of pydantic's complaints."""
    location = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
        return f"{location}: unknown key{hint}"
    value = error.get("input")
    shown = f" (given: {value})" if isinstance(value, str | int | float) and not _is_nan(value) else ""
    return f"{location}{': ' if location else ''}{error['msg'].removeprefix('Value error, ')}{shown}"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _known_keys(tables: tuple[Any, ...]) -> list[str]:
    found: Any = Recipe
    for table in tables:
        kinds = {"model": ModelTable, "data": DataTable, "folds": FoldsTable, "prune": PruneTable,
                 "quantize": QuantizeTable, "benchmark": BenchmarkTable, "gate": GateTable}  # fmt: skip
        found = kinds[str(table)]
    return list(found.model_fields)
