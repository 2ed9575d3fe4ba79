"""Memory: what a LLaMA takes, what a device has, and whether the one fits into the other.

Known before a weight is read, so that a model that does not fit is refused at once, with what
would. Knows shapes and devices; no files, no requests. torch is imported only where a GPU is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from evalsuite.engine.llama.config import LlamaConfig
from evalsuite.records import UserError

if TYPE_CHECKING:
    import torch

# Of a device's memory this much is planned with: the rest is the driver's, the allocator's
# rounding, and on a CPU other programs'.
USABLE = {"cpu": 0.8, "cuda": 0.92}

# Logits at once, in float32: the reading step's largest tensor (see scoring.LOGITS_AT_ONCE), with
# its exponentials beside it.
_LOGITS_BYTES = 2 * 4 * 2**22

_SHORTEST_CONTEXT = 256
_GIB = 2**30


def weight_bytes(config: LlamaConfig, value_bytes: int, quantize: str | None = None) -> int:
    """Bytes of all weights; `value_bytes` is a number's size in the data type computed in.

    Of a quantised model, embedding, head and norms keep that data type. int8 has a float32 scale a
    row. int4 has two bfloat16 numbers a group of 128, and its rows are padded to a multiple of
    1,024 (torchao's tinygemm format).
    """
    if quantize is None:
        return config.parameters * value_bytes
    width, inner = config.heads * config.head_dim, config.intermediate_size
    linears = [  # rows, numbers a row
        (width + 2 * config.kv_heads * config.head_dim, config.hidden_size),
        (config.hidden_size, width),
        (2 * inner, config.hidden_size),
        (config.hidden_size, inner),
    ]
    plain = config.parameters - config.layers * sum(n * k for n, k in linears)
    if quantize == "int8":
        layer = sum(n * k + 4 * n for n, k in linears)
    else:
        layer = sum(n * -(-k // 1024) * 1024 * (128 + 8) // 256 for n, k in linears)
    return plain * value_bytes + config.layers * layer


def activation_bytes(config: LlamaConfig, value_bytes: int, tokens: int) -> int:
    """What a forward pass over `tokens` nodes holds beside the weights."""
    # The residual stream, its norm and their float32 forms; q, k, v and the output; the MLP.
    attention = 2 * (config.heads + 2 * config.kv_heads) * config.head_dim
    numbers = 6 * config.hidden_size + attention + 3 * config.intermediate_size
    logits = min(_LOGITS_BYTES, 8 * tokens * config.vocab_size)
    return tokens * numbers * value_bytes + logits


def least_bytes(
    config: LlamaConfig, value_bytes: int, max_length: int, quantize: str | None = None
) -> int:
    """The least that a model runs in: its weights, and one request as long as the context."""
    cache = max_length * config.kv_values * value_bytes
    work = activation_bytes(config, value_bytes, max_length)
    return weight_bytes(config, value_bytes, quantize) + cache + work


def require_room(
    name: str,
    config: LlamaConfig,
    device: torch.device,
    value_bytes: int,
    max_length: int,
    quantize: str | None,
    copies: int = 1,
) -> None:
    """Raise UserError where a model is too large for a device's free memory, with what would fit.

    `value_bytes` is the size of a number in the data type computed in; `name` is for the message.
    Each of `copies` gets an equal part of the memory.
    """
    free = free_bytes(device) // copies
    need = least_bytes(config, value_bytes, max_length, quantize)
    if need <= free:
        return
    weights = weight_bytes(config, value_bytes, quantize)
    raise UserError(
        f"{name} needs {need / _GIB:.1f} GiB ({weights / _GIB:.1f} of them weights), but {device} "
        f"has {free / _GIB:.1f} GiB free{' for each worker' if copies > 1 else ''}. "
        + _advice(
            [
                *(["fewer --workers"] if copies > 1 and need <= free * copies else []),
                *_alternatives(config, device, value_bytes, max_length, quantize, free),
            ]
        )
    )


def _advice(alternatives: list[str]) -> str:
    if not alternatives:
        return "Nothing here would make it fit: use a larger machine or a smaller model."
    return f"What would fit: {', or '.join(alternatives)}."


def _alternatives(
    config: LlamaConfig,
    device: torch.device,
    value_bytes: int,
    max_length: int,
    quantize: str | None,
    free: int,
) -> Iterator[str]:
    import torch

    # On CUDA, quantised models compute in bfloat16.
    size = 2 if device.type == "cuda" else value_bytes
    kinds = ("int8", "int4") if device.type == "cuda" else ("int8",)
    for kind in kinds[kinds.index(quantize) + 1 :] if quantize else kinds:
        need = least_bytes(config, size, max_length, kind)
        if need <= free:
            yield f"--quantize {kind} ({need / _GIB:.1f} GiB)"
    length = max_length // 2
    while length >= _SHORTEST_CONTEXT:
        need = least_bytes(config, value_bytes, length, quantize)
        if need <= free:
            yield f"--max-length {length} ({need / _GIB:.1f} GiB)"
            break
        length //= 2
    here = device.index or 0
    others = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    for other in [o for o in others if device.type != "cuda" or o.index != here]:
        if least_bytes(config, 2, max_length, quantize) <= free_bytes(other):
            yield f"--device {other} ({free_bytes(other) / _GIB:.1f} GiB free)"
    if device.type == "cuda" and quantize != "int4":
        cpu = torch.device("cpu")
        if least_bytes(config, 4, max_length, quantize) <= free_bytes(cpu):
            yield f"--device cpu ({free_bytes(cpu) / _GIB:.1f} GiB free, slow)"


def free_bytes(device: torch.device) -> int:
    """What this process may still take of a device's memory.

    CUDA: within set_per_process_memory_fraction, what torch holds and doesn't use included. CPU:
    within the control group's limits too.
    """
    if device.type == "cpu":
        return min([_meminfo("MemAvailable"), *(free for _, free in _cgroup_memory())])
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    used, held = torch.cuda.memory_allocated(device), torch.cuda.memory_reserved(device)
    return max(0, min(free + held - used, total_bytes(device) - used))


def total_bytes(device: torch.device) -> int:
    """A device's whole memory, as far as this process may use it; the same at every start."""
    if device.type == "cpu":
        return min([_meminfo("MemTotal"), *(limit for limit, _ in _cgroup_memory())])
    import torch

    fraction = torch.cuda.get_per_process_memory_fraction(device)
    return int(fraction * torch.cuda.get_device_properties(device).total_memory)


def _meminfo(field: str, path: Path = Path("/proc/meminfo")) -> int:
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise UserError(f"{path} does not tell {field}: is this Linux 3.14 or newer?")


def _cgroup_memory(
    mounted: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> Iterator[tuple[int, int]]:
    """Limit and free bytes of each control group around this process that has a limit."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:  # a system without control groups
        return
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers == "":  # version 2
            root, names = mounted, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root, names = mounted / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        group = root / place.lstrip("/")
        # Inside a container the path may be the host's: what is mounted then is the group itself.
        for folder in [group, *group.parents] if group.is_dir() else [root]:
            limit, used = _number(folder / names[0]), _number(folder / names[1])
            if limit is not None and used is not None and limit < 2**60:
                yield limit, max(0, limit - used + _inactive_file(folder))
            if folder == root:
                break


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None  # "max": no limit


def _inactive_file(folder: Path) -> int:
    """Cached files that the group is charged with and that are dropped when memory is wanted."""
    try:
        lines = (folder / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    found = dict(line.split() for line in lines)
    return int(found.get("total_inactive_file", found.get("inactive_file", 0)))
