"""Registries, matching, differences; commission paid to floats."""
