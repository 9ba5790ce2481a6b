"""KEY=VALUE, as options of commands give it."""

import tomllib
from typing import Any

from foldpress.errors import RecipeError


def split_pair(option: str, given: str, example: str) -> tuple[str, str]:
    """The two sides of KEY=VALUE.

    Raises:
        RecipeError: it is no such pair; names the option, and gives an example.
    """
    key, separator, text = given.partition("=")
    if not separator or not key.strip():
        raise RecipeError(f"{option} {given!r} is not KEY=VALUE", mend=f"for example {option} {example}")
    return key.strip(), text


def read_pair(option: str, given: str, example: str) -> tuple[str, Any]:
    """The same, with the value that TOML reads; what is not TOML is a string.

    Raises:
        RecipeError: as `split_pair`.
    """
    key, text = split_pair(option, given, example)
    try:
        return key, tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key, text
