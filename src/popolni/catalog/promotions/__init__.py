"""Promotions: what a top-up gives on top."""
