"""Tests of chainrule.cli."""
