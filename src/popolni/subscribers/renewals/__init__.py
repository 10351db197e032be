"""Subscriptions that go on: renewed when a period ends, lapsed, and back after a top-up."""
