"""Loops and choices as parts of a graph; `chainrule` loads each function from its file when it is first used."""
