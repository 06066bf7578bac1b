"""The CPU backend: LLVM IR as text, compiled by llvmlite."""
