"""How often the gate passes a true drop that is exactly the margin (5 % is nominal), and how often no drop at all (power).

20,000 repetitions a row. Takes some minutes on one core.
Usage: python tests/perf/gate_levels.py [repetitions]
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[1]))

from levels import Learner, Setting, by_fold, by_group, by_position, one_artifact, refit

REPETITIONS = 20_000
ALLOWED = 0.07
TEST = [
    Setting(200, 0.05, 0.05), Setting(300, 0.01, 0.02), Setting(360, 0.02, 0.03), Setting(500, 0.02, 0.02),
    Setting(500, 0.02, 0.06), Setting(1000, 0.01, 0.02), Setting(1000, 0.01, 0.05), Setting(5000, 0.005, 0.01),
]  # fmt: skip
FOLDS = [
    Setting(300, 0.05, 0.10, 0.5), Setting(500, 0.02, 0.02, 0.5), Setting(500, 0.02, 0.05, 0.3),
    Setting(500, 0.02, 0.04, 0.5), Setting(1000, 0.01, 0.03, 0.5), Setting(1000, 0.02, 0.06, 1.0),
    Setting(2000, 0.01, 0.03, 1.0),
]  # fmt: skip
REFIT = [
    Learner(200, 5, 1.5, 1), Learner(300, 10, 2.0, 1), Learner(300, 30, 3.0, 2), Learner(500, 10, 2.0, 2),
    Learner(1000, 10, 2.0, 3), Learner(2000, 10, 1.0, 2),
]  # fmt: skip
POSITIONS = [
    (Setting(300, 0.01, 0.02, 0.0), 16), (Setting(300, 0.01, 0.02, 0.25), 16), (Setting(300, 0.01, 0.02, 1.0), 16),
    (Setting(300, 0.02, 0.06, 0.25), 16), (Setting(100, 0.05, 0.10, 0.0), 64), (Setting(100, 0.05, 0.10, 1.0), 64),
]  # fmt: skip
GROUPS = [
    Setting(600, 0.02, 0.05, spread, 6) for spread in (0.5, 1.0)
] + [
    Setting(500, 0.02, 0.02, 0.5, 10), Setting(1000, 0.02, 0.05, 0.5, 20), Setting(1000, 0.02, 0.05, 1.0, 20),
    Setting(1000, 0.05, 0.08, 1.0, 20), Setting(1000, 0.05, 0.08, 1.0, 50), Setting(1000, 0.02, 0.05, 2.0, 20),
]  # fmt: skip


def main(repetitions: int) -> int:
    """Print every table; 1 where a bound that has to hold its level does not."""
    print("| estimand | n | margin | flips | deviation between parts | false passes |\n|---|--:|--:|--:|--:|--:|")
    found = []
    for setting in TEST:
        found.append(one_artifact(setting, repetitions))
        print(f"| test split | {_told(setting)} | {found[-1]:.2%} |", flush=True)
    for setting in FOLDS:
        found.append(by_fold(setting, repetitions))
        print(f"| folds | {_told(setting)} | {found[-1]:.2%} |", flush=True)
    for learner in REFIT:
        share, margin, flips = refit(learner, repetitions)
        found.append(share)
        print(f"| refit | {learner.n} | {margin:.2%} | {flips:.1%} | trained anew | {share:.2%} |", flush=True)
    _power(repetitions)
    print("\n| groups | n | margin | flips | deviation between groups | false passes | groups ignored |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for setting in GROUPS:
        shares = [by_group(setting, repetitions, aware=aware) for aware in (True, False)]
        print(f"| {setting.groups} | {_told(setting)} | {shares[0]:.2%} | {shares[1]:.2%} |", flush=True)
    print("\n| positions | n | margin | flips | together | false passes | positions taken for samples |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for setting, positions in POSITIONS:
        shares = [by_position(setting, positions, repetitions // 4, aware=aware) for aware in (True, False)]
        found.append(shares[0])
        together = max(1, round(setting.spread * positions))
        sizes = f"{setting.n} | {setting.margin:.1%} | {setting.flips:.0%} | {together}"
        print(f"| {positions} | {sizes} | {shares[0]:.2%} | {shares[1]:.2%} |", flush=True)
    return int(max(found) > ALLOWED)


def _power(repetitions: int) -> None:
    print("\n| margin | flips | " + " | ".join(f"n = {n:,}" for n in (300, 600, 1200, 2500, 5000)) + " |")
    print("|--:|--:|" + "--:|" * 5)
    for margin in (0.005, 0.01, 0.02):
        for flips in (0.0, 0.01, 0.02, 0.05):
            setting = Setting(0, margin, flips + margin)
            shares = [one_artifact(replace(setting, n=n), repetitions, drop=0.0) for n in (300, 600, 1200, 2500, 5000)]
            print(
                f"| {margin:.1%} | {flips:.0%} | " + " | ".join(f"{share:.0%}" for share in shares) + " |", flush=True
            )


def _told(setting: Setting) -> str:
    spread = f"{setting.spread:g} margins" if setting.spread else "–"
    return f"{setting.n} | {setting.margin:.1%} | {setting.flips:.0%} | {spread}"


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else REPETITIONS))
