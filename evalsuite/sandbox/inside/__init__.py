"""What runs inside the sandbox: a fresh interpreter imports this package and nothing else of ours.

Standard library only. It must not import from the rest of evalsuite, which isn't visible in there.
"""
