"""Promotions: what a top-up gives on top, and what of that a reversal takes back.

    the log → facts → decide (pure) → transfers, from a promotion's budget and back to it

A top-up is decided on by what was in the log before it, however late the reader comes to it.
docs/promotions.md has the rules.
"""
