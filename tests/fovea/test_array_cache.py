import numpy as np

from fovea.array_cache import ArrayCache


def array(number: int) -> np.ndarray:
    return np.full(10, number, np.uint8)


def test_the_least_recently_used_array_is_evicted_when_the_memory_is_full():
    cache = ArrayCache(30)
    for number in range(3):
        cache.put(number, array(number))
    assert cache.get(0) is not None
    cache.put(3, array(3))
    assert cache.get(1) is None
    assert [int(kept[0]) for key in (0, 2, 3) if (kept := cache.get(key)) is not None] == [0, 2, 3]


def test_an_array_that_is_put_again_counts_once():
    cache = ArrayCache(20)
    for number in range(5):
        cache.put("same", array(number))
    cache.put("other", array(9))
    assert (kept := cache.get("same")) is not None
    assert kept[0] == 4


def test_an_array_larger_than_the_cache_is_not_kept_and_evicts_nothing():
    cache = ArrayCache(15)
    cache.put(1, array(1))
    cache.put(2, np.zeros(16, np.uint8))
    assert cache.get(2) is None
    assert cache.get(1) is not None
