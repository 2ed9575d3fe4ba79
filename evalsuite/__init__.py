"""evalsuite: evaluates LLaMA-family models exactly, once, and says how sure the numbers are."""

__version__ = "0.1.0"
