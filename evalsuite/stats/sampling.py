"""What n sampled answers to one item say about k of them: the unbiased pass@k of a benchmark.

Pure functions on counts; knows nothing of tasks or how an answer was judged right.
"""

from __future__ import annotations

import numpy as np


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that at least one of k answers, drawn without putting back, is right.

    `correct` of `n` sampled answers to the item were right. 1 - C(n - c, k) / C(n, k), the unbiased
    estimate of Chen et al., "Evaluating Large Language Models Trained on Code" (2021), in their
    product form, which neither overflows nor cancels. One set of samples serves every k up to n;
    the mean over items is the benchmark's pass@k.

    Raises:
        ValueError: not 1 <= k <= n, or not 0 <= correct <= n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} can't be estimated from {n} samples")
    if not 0 <= correct <= n:
        raise ValueError(f"{correct} of {n} samples can't be right")
    if n - correct < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - correct + 1, n + 1)))
