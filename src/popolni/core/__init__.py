"""The words and rules that every other part shares; pure, and of the standard library only."""
