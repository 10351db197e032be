"""What follows a credit: each reader follows the log of every book from its own position."""
