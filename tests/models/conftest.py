"""What the tests of models share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # Tensors are tiny here: a second thread costs more than it brings, above all on a busy machine.
    torch.set_num_threads(1)
