"""Tests of the primitives, driven by the table."""
