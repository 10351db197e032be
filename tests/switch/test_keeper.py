"""How long a process stays dead: not at all after a good life, and longer if it dies young."""

from popolni.switch.keeper import PAUSE_S_MAX, PAUSE_S_MIN, STEADY_S, Pauses


def test_who_dies_young_again_and_again_waits_longer_each_time() -> None:
    pauses, now, waited = Pauses(), 1_000.0, []
    for _ in range(10):
        waited.append(pauses.died(0, now))
        now += waited[-1]
        pauses.started(0, now)
        now += 0.5
    assert waited == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert (waited[1], waited[-1]) == (PAUSE_S_MIN, PAUSE_S_MAX)
    assert pauses.died(1, now) == 0.0  # of another one nothing is said


def test_after_a_good_life_it_is_started_at_once() -> None:
    pauses, now = Pauses(), 0.0
    for _ in range(5):
        pauses.started(0, now)
        now += 1.0
        pauses.died(0, now)
    pauses.started(0, now)
    assert pauses.died(0, now + STEADY_S) == 0.0
    pauses.started(0, now + STEADY_S)
    assert pauses.died(0, now + STEADY_S + 1) == PAUSE_S_MIN
