"""What a number uses is charged: allowances first, money after.

    an event of the network → decide → its transfers → answer

The transfers' identifiers come from the event's, so it is charged once, whoever brings it again.
"""
