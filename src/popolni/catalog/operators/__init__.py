"""Operators, their branches, and what each one's rules allow."""
