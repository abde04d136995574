from __future__ import annotations

from collections import Counter

import pytest
import torch

from diffcam.data import EqualThenLinear, Mixture, Proportional, SceneEntry
from diffcam.data import order as order_module
from diffcam.data.order import SampleOrder
from diffcam.data.randomness import derived_generator
from diffcam.errors import DiffcamError


def entries(kind: str, shards: int, scenes: int) -> list[SceneEntry]:
    return [SceneEntry(f"{kind}-{s}.tar", f"{n:06d}", n, n + 1, kind, 0) for s in range(shards) for n in range(scenes)]


def make_order(mixture: Mixture | None = None, seed: int = 0, shuffle_shards: int = 16) -> SampleOrder:
    both = entries("photo", 4, 5) + entries("ai", 3, 4)
    return SampleOrder(both, seed, mixture or EqualThenLinear(equal_until=10, linear_to=40), 8, shuffle_shards)


def test_each_epoch_of_a_kind_shows_every_scene_once() -> None:
    order = make_order()
    for kind, scenes in (("photo", 20), ("ai", 12)):
        seen = [entry for n in range(700) if (entry := order.entry(n)).kind == kind]
        epochs = [seen[start : start + scenes] for start in range(0, len(seen) - scenes + 1, scenes)]
        assert len(epochs) >= 5
        assert all(len(set(epoch)) == scenes for epoch in epochs)
        assert epochs[0] != epochs[1]


def test_the_order_is_a_function_of_index_and_seed_alone() -> None:
    straight, order, other = make_order(), make_order(), make_order(seed=1)
    whole = [straight.entry(n) for n in range(300)]
    some = torch.randperm(300, generator=torch.Generator().manual_seed(1)).tolist()
    assert [order.entry(n) for n in some] == [whole[n] for n in some]
    assert [other.entry(n) for n in range(300)] != whole


def test_order_is_the_same_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_module, "CHUNK", 32)
    straight = make_order()
    whole = [straight.entry(n) for n in range(320)]
    assert [make_order().entry(n) for n in (319, 31, 32, 100)] == [whole[n] for n in (319, 31, 32, 100)]
    ai = [entry for entry in whole if entry.kind == "ai"]
    assert all(len(set(ai[start : start + 12])) == 12 for start in range(0, len(ai) - 12, 12))


def test_the_mixture_follows_the_steps() -> None:
    order = SampleOrder(
        entries("photo", 1, 30) + entries("ai", 1, 10), 0, EqualThenLinear(equal_until=10, linear_to=30), 100
    )
    kinds = [order.entry(n).kind for n in range(4000)]
    share = [Counter(kinds[step * 100 : (step + 10) * 100])["ai"] / 1000 for step in (0, 15, 30)]
    assert share[0] == pytest.approx(0.5, abs=0.05)
    assert share[1] == pytest.approx(0.5 + 0.5 * (9.5 / 20), abs=0.05)
    assert share[2] == 1.0


def test_proportional_mixture_counts_scenes() -> None:
    order = make_order(Proportional())
    assert Counter(order.entry(n).kind for n in range(4000))["ai"] / 4000 == pytest.approx(12 / 32, abs=0.03)


def test_few_shards_are_open_at_a_time_where_asked() -> None:
    order = SampleOrder(entries("photo", 6, 5), 0, Proportional(), 8, shuffle_shards=2)
    shards = [order.entry(n).shard for n in range(30)]
    assert [len(set(shards[start : start + 10])) for start in (0, 10, 20)] == [2, 2, 2]
    assert len(set(shards)) == 6
    assert shards[:10] != sorted(shards[:10])


def test_substitutes_are_of_the_same_kind() -> None:
    order = make_order()
    first = order.entry(0)
    others = {order.substitute(first, derived_generator(n)) for n in range(200)}
    assert first not in others
    assert {other.kind for other in others} == {first.kind}
    single = SampleOrder(entries("ai", 1, 1), 0, Proportional(), 1)
    assert single.substitute(single.entry(0), derived_generator(0)) == single.entry(5)


def test_identity_depends_on_data_and_seed() -> None:
    assert make_order().identity() == make_order().identity()
    assert make_order().identity() != make_order(seed=1).identity()
    assert SampleOrder(entries("ai", 1, 3), 0, Proportional(), 1).identity() != (
        SampleOrder(entries("ai", 1, 4), 0, Proportional(), 1).identity()
    )


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(DiffcamError, match="no scene"):
        SampleOrder([], 0, Proportional(), 1)
    with pytest.raises(ValueError, match="positive"):
        SampleOrder(entries("ai", 1, 1), 0, Proportional(), 0)
    with pytest.raises(DiffcamError, match="'ai'"):
        SampleOrder(entries("photo", 1, 1) + entries("phone", 1, 1), 0, EqualThenLinear(), 1).entry(0)


def test_generators_are_unrelated_and_repeatable() -> None:
    draws = [float(torch.rand((), generator=derived_generator("sample", 0, n))) for n in range(2000)]
    assert len(set(draws)) == 2000
    assert sum(draws) / 2000 == pytest.approx(0.5, abs=0.03)
    assert draws[7] == float(torch.rand((), generator=derived_generator("sample", 0, 7)))
    assert draws[7] != float(torch.rand((), generator=derived_generator("kind", 0, 7)))
