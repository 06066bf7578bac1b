"""Benchmarks of Chainrule, beside PyTorch and JAX where they do the same work: ``python -m benchmarks``."""
