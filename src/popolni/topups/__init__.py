"""Money on its way: top-ups, and what staff post by hand."""
