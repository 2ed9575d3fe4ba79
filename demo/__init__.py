"""How the embedded demo pair and the starter tasks were made: text from a seed, then two small
LLaMA models trained on it. Nothing in the package `evalsuite` imports this folder."""
