"""Real models that differ by known amounts, each measured on the starter suite by itself.

Noise is added to the weights of demo-large: to each matrix, Gaussian, its standard deviation a
share of the matrix's own. Knows the public API and safetensors; what a comparison should find is
paired_data.py's to say.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import evalsuite

LARGE = Path(str(files("evalsuite") / "models" / "demo" / "demo-large"))
# What the smallest does is invisible on 1,320 items, the second's shows in the mean over tasks only
# and the largest's in most tasks.
STRENGTHS = (0.01, 0.05, 0.2)
NAME = "checkpoint"  # what every folder of weights is called in its run


def add_noise(source: Path, target: Path, strength: float, seed: int = 0) -> Path:
    """A copy of a checkpoint's folder with noise of `strength` in every matrix; vectors stay.

    The same seed gives the same noise at every strength, scaled.
    """
    shutil.copytree(source, target)
    generator = torch.Generator().manual_seed(seed)
    noisy = {}
    for name, weights in sorted(load_file(target / "model.safetensors").items()):
        if weights.ndim > 1:
            noise = torch.randn(weights.shape, generator=generator)  # as float32 [out, in]
            weights = (weights + strength * weights.float().std() * noise).to(weights.dtype)
        noisy[name] = weights.contiguous()
    save_file(noisy, target / "model.safetensors", metadata={"format": "pt"})
    return target


def variants(place: Path, strengths: Sequence[float] = STRENGTHS) -> dict[str, dict[str, Any]]:
    """The flags of each variant's run by its name; noisy checkpoints are made below `place`."""
    noisy = {
        f"noise {strength:g}": {
            "models": f"{NAME}={add_noise(LARGE, place / f'noise-{strength:g}', strength)}"
        }
        for strength in strengths
    }
    return {
        # Not taken from the store: all of it is computed a second time.
        "itself": {"models": "demo-large", "refresh": True},
        "int8": {"models": "demo-large", "quantize": "int8"},
        **noisy,
        "demo-small": {"models": "demo-small"},
    }


def measure(name: str, flags: Mapping[str, Any], place: Path, **more: Any) -> Path:
    """Runs a variant on the starter suite; returns the run's folder below `place`."""
    output = place / f"run-{name.replace(' ', '-')}"
    return evalsuite.evaluate(
        **{"tasks": ["starter"], "judge": "none", "dtype": "float32", **flags, **more},
        output=str(output),
        store=str(place / "store.db"),
    ).path
