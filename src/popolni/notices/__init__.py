"""Notices: what people are told by SMS, in their language.

    data → a text (texts) → a row of the outbox (service) → sending → the SMSC (smpp) → a receipt

The row's key says what it is about, so the same thing is told once, however often it is asked
for. Who has something to tell calls `service.notify`.
"""
