"""How many requests an agent may make: a bucket that fills by its rate, a second's worth at most.

Each process lets its share through; the kernel spreads connections over them, not requests, so an
agent with few connections may get somewhat less than it may have.
"""

import asyncio

from popolni.topups.catalogue import AgentTerms


class Rates:
    """The buckets of all agents in one of `processes` processes."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._buckets: dict[int, tuple[float, float]] = {}

    def allows(self, agent: AgentTerms) -> bool:
        """Whether one more request is let through now."""
        if agent.requests_per_s is None:
            return True
        rate = agent.requests_per_s / self._processes
        full = max(rate, 1.0)
        now = asyncio.get_running_loop().time()
        left, since = self._buckets.get(agent.id, (full, now))
        left = min(full, left + (now - since) * rate)
        is_allowed = left >= 1
        self._buckets[agent.id] = (left - is_allowed, now)
        return is_allowed
