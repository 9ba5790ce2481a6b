"""`[folds]`: which sample may be seen when."""

from typing import Annotated

from pydantic import Field, model_validator

from foldpress.schemes import Scheme
from foldpress.tables.fields import Count, Share, Table


class FoldsTable(Table):
    """How samples are divided. `scheme` None: stratified for classes, else kfold.

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
