"""What tests of several rooms share: where the real data is, and Chromium."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# Nothing in these tests may reach for a hub: what isn't local is an error at once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# A thread each for the files that run side by side, before torch is first imported: two processes
# with two threads each spend most of two cores waiting for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# How long an example takes is the machine's affair.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# pytest-xdist's workers ignore Ctrl-C, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder with real benchmark rows and the small real LLaMA (EVALSUITE_TEST_DATA)."""
    place = os.environ.get("EVALSUITE_TEST_DATA")
    if not place:
        pytest.skip("EVALSUITE_TEST_DATA is not set: no real benchmark rows on this machine")
    return Path(place)
