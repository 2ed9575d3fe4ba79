"""What this machine can do, for `evalsuite doctor`: devices, memory, keys, network, places.

Looks and tells; changes nothing and sends nothing but one connection attempt to the hub. The
sandbox is tried with a program that attempts to get out.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from evalsuite.config import default_store
from evalsuite.engine.llama.memory import free_bytes
from evalsuite.environment import hardware, versions

_CONNECT_SECONDS = 3.0


def examine() -> str:
    """A line a finding, as a person reads them."""
    findings = list(_findings())
    width = max(len(name) for name, _ in findings)
    return "\n".join(f"{name:{width}}  {finding}" for name, finding in findings)


def _findings() -> Iterator[tuple[str, str]]:
    import torch

    machine, software = hardware(), versions()
    yield "software", ", ".join(f"{name} {version}" for name, version in software.items())
    yield "processor", f"{machine['cpu']}, {machine['cores']} cores usable"
    free = free_bytes(torch.device("cpu"))
    yield "memory", f"{machine['memory_bytes'] / 2**30:.1f} GiB, {free / 2**30:.1f} free"
    yield "bfloat16", _bfloat16()
    if machine["gpus"]:
        for index, name in enumerate(machine["gpus"]):
            total = torch.cuda.get_device_properties(index).total_memory
            yield f"cuda:{index}", f"{name}, {total / 2**30:.0f} GiB"
    else:
        built = "a CPU build" if torch.version.cuda is None else "none found"
        yield "GPU", f"none usable by torch {software['torch']} ({built})"
    yield "quantize", _quantize()
    for variable in ("OPENAI_API_KEY", "HF_TOKEN"):
        yield variable, _key(variable, os.environ)
    yield "hub", _hub(os.environ)
    store = default_store()
    yield "store", f"{store} ({_size(store)})"
    yield "sandbox", _sandbox()


def _bfloat16() -> str:
    import torch

    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    if supported is not None and supported():
        return "the processor has instructions for it"
    return "no instructions for it in the processor: --dtype float32 is faster here"


def _quantize() -> str:
    if find_spec("torchao") is None:
        return "not possible: pip install 'torchao>=0.18'"
    import torch

    return "int8 and int4" if torch.cuda.is_available() else "int8 (int4 needs an NVIDIA GPU)"


def _key(variable: str, environ: Mapping[str, str]) -> str:
    # Whether it is there is all that may be told of a key.
    return "set" if environ.get(variable) else "not set"


def _hub(environ: Mapping[str, str]) -> str:
    if environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        return "not asked: HF_HUB_OFFLINE is set"
    url = urlsplit(environ.get("HF_ENDPOINT") or "https://huggingface.co")
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        with socket.create_connection((url.hostname or "", port), timeout=_CONNECT_SECONDS):
            return f"{url.hostname} can be reached"
    except OSError as error:
        return f"{url.hostname} can't be reached ({error}): use local folders and --data-dir"


def _sandbox() -> str:
    from evalsuite.sandbox import probe

    protection = probe()
    why = f" ({'; '.join(protection.reasons)})" if protection.reasons else ""
    if protection.contained:
        return f"{protection.mode}: a program that tried to get out was held{why}"
    return f"none, so code from models is not run{why}"


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.1f} MiB" if path.is_file() else "not there yet"
