"""The recipe: frozen, typed, unknown keys refused with the nearest known name."""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator, PrivateAttr, ValidationError, model_validator

from foldpress.errors import RecipeError
from foldpress.key_value import read_pair
from foldpress.tables.benchmark import BenchmarkTable
from foldpress.tables.complaints import complaints
from foldpress.tables.data import DataTable
from foldpress.tables.factorize import FactorizeTable
from foldpress.tables.fields import Table
from foldpress.tables.folds import FoldsTable
from foldpress.tables.gate import GateTable
from foldpress.tables.model import ModelTable
from foldpress.tables.prune import PruneTable
from foldpress.tables.quantize import QuantizeTable
from foldpress.tables.share import ShareTable
from foldpress.tables.train import DistillTable, FinetuneTable, TrainTable

_Table = TypeVar("_Table", bound=Table)


class Recipe(Table):
    """A whole job."""

    model: ModelTable
    data: DataTable
    folds: FoldsTable = FoldsTable()
    distill: DistillTable | None = None
    prune: PruneTable | None = None
    finetune: FinetuneTable | None = None
    factorize: FactorizeTable | None = None
    share: ShareTable | None = None
    quantize: Annotated[QuantizeTable | None, BeforeValidator(lambda given: None if given is False else given)] = (
        QuantizeTable()
    )
    benchmark: BenchmarkTable = BenchmarkTable()
    gate: GateTable
    _folder: Path = PrivateAttr(default=Path())
    _name: str = PrivateAttr(default="recipe.toml")

    @model_validator(mode="before")
    @classmethod
    def _shared_weights_stay_float(cls, document: Any) -> Any:
        """Codebooks make a file small, not fast: int8 comes on top only where it is asked for."""
        if isinstance(document, dict) and "share" in document:
            return {"quantize": False} | document
        return document

    @model_validator(mode="after")
    def _shared_values_survive(self) -> "Recipe":
        if self.share is not None and self.share.epochs is not None and self.finetune is None:
            raise ValueError("share.epochs goes on with the training of [finetune], which is not there")
        if self.share is not None and self.quantize is not None:
            self.share.check_with(self.quantize)
        return self

    @model_validator(mode="after")
    def _training_has_what_it_needs(self) -> "Recipe":
        if self.trainings and self.data.train is None:
            raise ValueError("[distill] and [finetune] train, and there is nothing to train on: add [data] train")
        if self.finetune is not None and self.finetune.factors:
            self._check_factors()
        elif self.finetune is not None and self.prune is None:
            raise ValueError("[finetune] trains under the masks of [prune], which is not there")
        if self.finetune is not None and self.finetune.gradual and (self.prune is None or self.prune.sparsity is None):
            raise ValueError("finetune.gradual lets single weights go: it needs prune.sparsity")
        return self

    def _check_factors(self) -> None:
        table = self.factorize
        if table is None or table.latency is not None or table.max_drop is not None:
            raise ValueError("finetune.factors needs [factorize] with a budget in macs, parameters or bytes")
        if self.prune is not None and self.prune.method != "structured":
            raise ValueError('finetune.factors: products keep no single zeros; set prune.method = "structured"')
        if self.share is not None and self.share.epochs is not None:
            raise ValueError(
                "finetune.factors and share.epochs: shared values would be no products; leave one of them out"
            )

    @property
    def trainings(self) -> list[TrainTable]:
        """The tables that train, in order."""
        return [table for table in (self.distill, self.finetune) if table is not None]

    @property
    def taught_by(self) -> list[str]:
        """Files, as far as they are any, that trainings start from: of teachers and of the student."""
        teachers = [name for table in self.trainings for one in table.teacher for name in (one.source, one.weights)]
        return [name for name in (*teachers, self.distill.weights if self.distill else None) if name]

    @property
    def pressed(self) -> "Recipe":
        """What is left to be done after all training: fine-tuning has pruned already."""
        return self if self.finetune is None else self.model_copy(update={"prune": None})

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
    document = _read(path)
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
        told = (f"  {line}" for line in complaints(error, Recipe))
        raise RecipeError("the recipe is wrong:\n" + "\n".join(told)) from error
    recipe.gate.required()
    recipe._folder, recipe._name = folder.resolve(), name  # where it stands is not part of what it says
    return recipe


def make_table(kind: type[_Table], **given: Any) -> _Table:
    """One table from a command's options; those that are None were not given.

    Raises:
        RecipeError: what the same table of a recipe would be refused for.
    """
    try:
        return kind.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise RecipeError("\n".join(complaints(error, kind))) from error


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        found = ", ".join(sorted(file.name for file in path.parent.glob("*.toml"))) if path.parent.is_dir() else ""
        raise RecipeError(f"there is no recipe {path}", available=found or "no .toml there", mend="foldpress init DIR")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}") from error


def _override(document: dict[str, Any], override: str) -> None:
    key, value = read_pair("--set", override, "gate.max_drop=0.02")
    *tables, last = key.split(".")
    for table in tables:
        document = document.setdefault(table, {})
        if not isinstance(document, dict):
            raise RecipeError(f"--set {override!r}: {table} is no table")
    document[last] = value
