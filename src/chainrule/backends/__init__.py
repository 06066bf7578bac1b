"""Backends: what turns scheduled graphs into values on a device."""
