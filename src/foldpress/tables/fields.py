"""What the tables of a recipe are made of: a frozen table without unknown keys, and the kinds of numbers in it."""

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_MILLISECONDS = {"": 1.0, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}


class Table(BaseModel):
    """Frozen; a key that is not understood is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


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


Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Limit = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]  # strict: `true` is no limit of 1
Bytes = Annotated[Limit, _quantity(_BYTES, "size")]
Milliseconds = Annotated[Limit, _quantity(_MILLISECONDS, "duration")]
Count = Annotated[int, Field(ge=1)]
Counts = Annotated[
    tuple[Count, ...],
    Field(min_length=1),
    BeforeValidator(lambda given: given if isinstance(given, list | tuple) else (given,)),
]
