"""Agents, their contracts, outlets, credentials and floats; and the staff's users."""
