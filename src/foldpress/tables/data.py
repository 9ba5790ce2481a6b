"""`[data]`: what the network is judged on."""

from typing import Annotated

from pydantic import Field, model_validator

from foldpress.tables.fields import Table


class DataTable(Table):
    """Samples, the task that they pose and, if there is one, a metric of the whole set; and the output judged."""

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
