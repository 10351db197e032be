"""Popolni: money handed over anywhere becomes balance on a prepaid number."""

__version__ = "0.1.0"
