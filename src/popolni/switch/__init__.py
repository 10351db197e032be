"""The program for machines: asyncio, batches, no ORM on the hot path."""
