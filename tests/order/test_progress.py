from __future__ import annotations

import pickle

from hypothesis import given, strategies as st

from webds.order.progress import Held, Progress


@given(st.lists(st.tuples(st.sampled_from(("enter", "leave", "begin", "report")), st.integers(0, 99))))
def test_who_follows_by_the_changes_is_as_far(moves: list[tuple[str, int]]) -> None:
    one, other = Progress(), Progress()
    for n, (move, number) in enumerate(moves):
        held = one.held.get("2", Held())
        if move == "enter":
            held.enter((("s", number, None), "a value"))
        elif move == "leave" and held.items:
            held.leave(number % len(held.items))
        elif move == "begin":
            one.held["2"] = Held()
        one.shard, one.read, one.passes, one.taken["0"] = number, n, (n,), number
        if move == "report":
            other.follow(pickle.loads(pickle.dumps(one.changes())))
            assert other == one.copy()


def test_changes_after_the_first_are_small() -> None:
    progress = Progress(held={"0": Held([(("s", i, None), bytes(100)) for i in range(5000)])})
    assert len(pickle.dumps(progress.changes())) > 20_000
    progress.held["0"].leave(17)
    progress.held["0"].enter((("s", 5000, None), b""))
    assert len(pickle.dumps(progress.changes())) < 1000


def test_a_copy_stays_as_it_is_and_holds_no_values() -> None:
    progress = Progress((1,), 2, 3, {"0": 4}, {"1": Held([(("s", 1, None), "value")])})
    copy = progress.copy()
    progress.held["1"].leave(0)
    progress.taken["0"] = 5
    assert copy == Progress((1,), 2, 3, {"0": 4}, {"1": Held([(("s", 1, None), None)])})
    shards = {"s": 0}
    assert Progress.parse(copy.dump(shards), ["s"]) == copy
