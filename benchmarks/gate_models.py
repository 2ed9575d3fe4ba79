"""The gate on real models: demo-large against itself, int8, noise in its weights, and demo-small.

Each variant is measured on the whole starter suite, compared with demo-large by the public API, and
set beside what an independent reading of the samples says (tests/gate/paired_data.py).

    python benchmarks/gate_models.py            the table of docs/gate.md
    python benchmarks/gate_models.py --strengths 0.02 0.1
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "gate"))

from noisy_models import STRENGTHS, measure, variants
from paired_data import sign_flips, what_they_say

import evalsuite


def table(place: Path, strengths: Sequence[float]) -> tuple[str, bool]:
    """The comparisons as a markdown table, and whether all verdicts are what the data say."""
    large = measure("demo-large", {"models": "demo-large"}, place)
    lines = [
        "| against demo-large | better, worse | mean | p of the mean | p by sign flips | "
        "tasks regressed | verdict | the data say |",
        "|---|---|---|---|---|---|---|---|",
    ]
    agree = True
    for name, flags in variants(place, strengths).items():
        run = measure(name, flags, place)
        result, said = evalsuite.compare(large, run), what_they_say(large, run)
        (model,) = result.models
        mean = model.mean
        assert mean is not None
        assert mean.difference is not None
        assert mean.p is not None
        drop = f"{mean.difference:+.2f}".replace("-", "−")
        tasks = sum(line.verdict == "regressed" for line in model.lines)
        agree = agree and result.verdict == said.verdict and tasks == len(said.dropped)
        lines.append(
            f"| {name} | {said.changed[0]}, {said.changed[1]} | {drop} | "
            f"{mean.p:.2g} | {sign_flips(large, run):.2g} | {tasks} of {len(model.lines)} | "
            f"{result.verdict} | {said.verdict} |"
        )
    return "\n".join(lines), agree


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        text, agree = table(Path(place), options.strengths)
    print(text)
    print("\nall verdicts are what the data say" if agree else "\na verdict is not what they say")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
