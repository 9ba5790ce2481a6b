"""What is wrong with a table, told in the recipe's own words: one line a key, with the nearest known name."""

import difflib
import math
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def complaints(error: ValidationError, document: type[BaseModel]) -> list[str]:
    """One line for each of pydantic's complaints about a document of this kind."""
    return [_told(one, document) for one in error.errors()]


def _told(error: Any, document: type[BaseModel]) -> str:
    location = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        known = _known_keys(document, error["loc"][:-1])
        near = difflib.get_close_matches(str(error["loc"][-1]), known, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
        return f"{location}: unknown key{hint}"
    value = error.get("input")
    shown = f" (given: {value})" if isinstance(value, str | int | float) and not _is_nan(value) else ""
    return f"{location}{': ' if location else ''}{error['msg'].removeprefix('Value error, ')}{shown}"


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _known_keys(document: type[BaseModel], tables: tuple[Any, ...]) -> list[str]:
    for name in tables:
        kind = document.model_fields[name].annotation
        document = next(one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, BaseModel))
    return list(document.model_fields)
