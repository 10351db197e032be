"""Which operator and region a number belongs to."""
