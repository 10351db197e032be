"""Webhooks: what became of a top-up after its first answer, told to the agent that made it.

    the log → events → a row for each → sending → the agent's address

The row is written in the transaction of the reader's position, so there is one for each event. It
is sent at least once: after a crash between the POST and the mark that it arrived, it is sent
again, with the same event id.
"""
