"""Tests of chainrule.recipes."""
