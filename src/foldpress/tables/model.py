"""`[model]`: where the network comes from."""

from pydantic import model_validator

from foldpress.tables.fields import Table


class ModelTable(Table):
    """A network by its code, or as a graph."""

    source: str
    weights: str | None = None

    @model_validator(mode="after")
    def _weights_fit_source(self) -> "ModelTable":
        if self.weights is not None and self.source.endswith(".onnx"):
            raise ValueError("weights go with module:callable; an .onnx file holds its own")
        return self
