"""Dates and numbers where Django's own form for a language would puzzle our readers."""
