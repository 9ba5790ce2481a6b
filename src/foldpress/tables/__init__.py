"""The tables of a recipe, one a file."""
