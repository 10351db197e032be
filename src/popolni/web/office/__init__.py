"""The back office: where staff look after operators, plans, numbers, agents and money."""
