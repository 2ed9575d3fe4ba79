"""Which weights a name means, where they lie on disk, and what their bytes are."""

from evalsuite.models.registry import DEMO_MODELS, ModelSpec, resolve_models
from evalsuite.models.tokenizer import check_tokenizer, load_tokenizer
from evalsuite.models.weights import Fingerprint, fingerprint, locate

__all__ = [
    "DEMO_MODELS",
    "Fingerprint",
    "ModelSpec",
    "check_tokenizer",
    "fingerprint",
    "load_tokenizer",
    "locate",
    "resolve_models",
]
