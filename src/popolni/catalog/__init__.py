"""What an operator sells and to whom its numbers belong: reference data that staff keep."""
