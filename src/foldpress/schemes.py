"""How folds are made, by the names that scikit-learn's users expect. Apart from `folds.py`, so that a recipe is read at once."""

from typing import Literal

Scheme = Literal["kfold", "stratified", "group", "stratified-group", "leave-one-group-out", "time-series", "holdout"]
GROUPED = ("group", "stratified-group", "leave-one-group-out")  # these keep groups whole, and are bounded by them
UNREPEATED = ("leave-one-group-out", "time-series", "holdout")  # nothing in their folds is drawn
