"""The graph: nodes, walks over them, printing and verification."""

from .node import Node, topological

__all__ = ["Node", "topological"]
