"""The compiler: graph -> kernels -> regions -> memory plan -> program (see docs/architecture.md)."""
