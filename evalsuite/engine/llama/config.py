"""A LLaMA's shape, read from config.json.

Knows the keys that transformers wrote over the years and which of them this engine can honour.
What it cannot honour it refuses: a model that runs with a setting ignored gives wrong numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evalsuite.records import UserError

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM")

_OTHER_ENGINE = "Use --engine hf, which runs whatever transformers does."

# transformers' default for LLaMA configs that leave the key out.
_DEFAULT_POSITIONS = 2048
# transformers' default for Mistral configs that leave the key out (the first Mistral 7B's window).
_MISTRAL_DEFAULT_WINDOW = 4096


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary embedding: `kind` is default, linear or llama3; the other fields belong to a kind."""

    kind: str = "default"
    theta: float = 10_000.0
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 8192


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """Sizes and switches of a LLaMA; names follow config.json, shortened where they are long."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int
    norm_eps: float = 1e-6
    rope: Rope = Rope()
    tied_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    dtype: str | None = None
    bos_id: int | None = 1
    eos_ids: tuple[int, ...] = (2,)
    family: str = "llama"

    @property
    def parameters(self) -> int:
        """How many numbers the weights hold; a tied output matrix counts once, biases don't."""
        attention = self.hidden_size * self.head_dim * 2 * (self.heads + self.kv_heads)
        mlp = 3 * self.hidden_size * self.intermediate_size
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2)
        norms = (2 * self.layers + 1) * self.hidden_size
        return self.layers * (attention + mlp) + norms + embeddings

    @property
    def kv_values(self) -> int:
        """Numbers that one token leaves in the key/value cache, over all layers."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], where: str) -> LlamaConfig:
        """Read the parsed config.json of the folder `where` (used in messages only).

        Raises UserError for another architecture, a missing key or a setting this engine lacks.
        """
        architectures = raw.get("architectures") or []
        name = architectures[0] if architectures else raw.get("model_type", "unknown")
        if name not in ARCHITECTURES and not (not architectures and name in ("llama", "mistral")):
            raise UserError(
                f"{where} holds a {name} model; this engine runs LLaMA-family models "
                f"({', '.join(ARCHITECTURES)}). {_OTHER_ENGINE}"
            )
        if raw.get("quantization_config"):
            method = raw["quantization_config"].get("quant_method", "unknown method")
            raise UserError(
                f"{where} holds weights that are already quantised ({method}), which this engine "
                "cannot read: use the original checkpoint."
            )
        try:
            return cls._read(raw, where, mistral="istral" in name)
        except KeyError as missing:
            raise UserError(f"{where}/config.json lacks {missing}: is it complete?") from None
        except (TypeError, ValueError) as wrong:
            raise UserError(f"{where}/config.json cannot be used: {wrong}") from None

    @classmethod
    def _read(cls, raw: Mapping[str, Any], where: str, *, mistral: bool) -> LlamaConfig:
        heads = _size(raw, "num_attention_heads")
        hidden = _size(raw, "hidden_size")
        max_positions = _size(raw, "max_position_embeddings", _DEFAULT_POSITIONS)
        activation = raw.get("hidden_act", "silu")
        if activation != "silu":
            raise UserError(
                f"{where}: hidden_act {activation!r} is not supported, only 'silu'. {_OTHER_ENGINE}"
            )
        if mistral:
            window = raw.get("sliding_window", _MISTRAL_DEFAULT_WINDOW)
            if window is not None and window < max_positions:
                raise UserError(
                    f"{where}: attention in a sliding window ({window} of {max_positions} tokens) "
                    f"is not supported; Mistral models without one are. {_OTHER_ENGINE}"
                )
        head_dim = _size(raw, "head_dim", hidden // heads)
        kv_heads = _size(raw, "num_key_value_heads", 8 if mistral else heads)
        if heads % kv_heads or head_dim % 2:
            raise ValueError(
                f"{heads} heads, {kv_heads} key/value heads and head size {head_dim} don't fit"
            )
        eos = raw.get("eos_token_id", 2)
        bos = raw.get("bos_token_id", 1)
        return cls(
            vocab_size=_size(raw, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=_size(raw, "intermediate_size"),
            layers=_size(raw, "num_hidden_layers"),
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            max_positions=max_positions,
            norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
            rope=_read_rope(raw, where, max_positions),
            tied_embeddings=bool(raw.get("tie_word_embeddings", False)),
            attention_bias=bool(raw.get("attention_bias", False)) and not mistral,
            mlp_bias=bool(raw.get("mlp_bias", False)) and not mistral,
            dtype=raw.get("dtype") or raw.get("torch_dtype"),
            bos_id=bos[0] if isinstance(bos, list) else bos,
            eos_ids=token_ids(eos),
            family="mistral" if mistral else "llama",
        )


def _size(raw: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A number of things, 1 or more; `default` is for a key that is missing or null."""
    size = default if default is not None and raw.get(key) is None else int(raw[key])
    if size < 1:
        raise ValueError(f"{key} is {size}, but must be 1 or more")
    return size


def token_ids(value: int | list[int] | None) -> tuple[int, ...]:
    """A token id as configs write it (one, a list or null) as a tuple."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list) else (int(value),)


def _read_rope(raw: Mapping[str, Any], where: str, max_positions: int) -> Rope:
    """Read `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before)."""
    settings = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
    kind = settings.get("rope_type") or settings.get("type") or "default"
    if kind not in ("default", "linear", "llama3"):
        raise UserError(
            f"{where}: rotary scaling {kind!r} is not supported; default, linear and llama3 are. "
            f"{_OTHER_ENGINE}"
        )
    if settings.get("partial_rotary_factor", raw.get("partial_rotary_factor") or 1.0) != 1.0:
        raise UserError(
            f"{where}: rotary embedding of a part of each head is not supported. {_OTHER_ENGINE}"
        )
    theta = settings.get("rope_theta") or raw.get("rope_theta") or 10_000.0
    if kind == "default":
        return Rope(theta=float(theta))
    if kind == "linear":
        return Rope(kind="linear", theta=float(theta), factor=float(settings["factor"]))
    return Rope(
        kind="llama3",
        theta=float(theta),
        factor=float(settings["factor"]),
        low_freq_factor=float(settings["low_freq_factor"]),
        high_freq_factor=float(settings["high_freq_factor"]),
        original_max_positions=int(
            settings.get("original_max_position_embeddings") or max_positions
        ),
    )
