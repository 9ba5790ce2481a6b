"""KEY=VALUE, as options of commands give it."""

import tomllib
from typing import Any

from foldpress.errors import RecipeError


def read_pair(option: str, given: str, example: str) -> tuple[str, Any]:
    """The two sides of KEY=VALUE; a value that is not TOML is a string.

    Raises:
        RecipeError: it is no such pair; names the option, and gives an example.
    """
    key, separator, text = given.partition("=")
    if not separator or not key.strip():
        raise RecipeError(f"{option} {given!r} is not KEY=VALUE", mend=f"for example {option} {example}")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text
