"""The ledger: all value, as transfers between accounts. `post.sql` is the only door to it."""
