"""Index jobs against the bare server: the same pictures, the same callers, in turns."""

from __future__ import annotations

import shutil
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fovea_client import Client
from fovea_search import Job, Options, Servers, Store, sources
from fovea_search.servers import VERB, open_store

CALLERS, ACTORS = 8, 2
# Small, so that Ray's last slices are a small share of the run.
BATCH = 8


@dataclass(frozen=True)
class Jobs:
    """Pictures a second, the median of rounds; shares of the bare server's.

    ray: from its first commit on. ray_start_s: until then, with the start of the actors.
    """

    pictures: int
    rounds: int
    bare: float
    plain: float
    ray: float
    plain_share: float
    ray_share: float
    ray_start_s: float


def bare(client: Client, paths: list[Path]) -> float:
    """As many callers as a job has, and nothing but the calls."""
    data = [path.read_bytes() for path in paths]
    with ThreadPoolExecutor(CALLERS) as pool:
        start = time.perf_counter()
        for _ in pool.map(client.embed_objects, data):
            pass
        return len(data) / (time.perf_counter() - start)


def plain(client: Client, photos: Path, where: Path) -> float:
    """`fovea index` without its start."""
    store = _fresh(client, where)
    job = Job(store, Servers([client], VERB, {}), Options(CALLERS, BATCH))
    return job.run(list(sources.find([str(photos)], _ignore))).pictures_per_s


def on_ray(client: Client, url: str, photos: Path, where: Path) -> tuple[float, float]:
    """Pictures a second after the first commit, and the seconds until it."""
    from fovea_search.ray_job import Asking, Cluster, RayJob

    store = _fresh(client, where)
    asking = Asking((url,), 600.0, VERB, store.made_by.settings)
    options = Options(CALLERS // ACTORS, BATCH)
    job = RayJob(store, asking, Cluster(actors=ACTORS), options, on_problem=_ignore)
    seen: list[tuple[float, int]] = []
    start = time.perf_counter()
    found = list(sources.find([str(photos)], _ignore, closed=True))
    job.run(found, progress=lambda done, _: seen.append((time.perf_counter(), done)))
    (first, before), (last, done) = seen[0], seen[-1]
    return (done - before) / (last - first), first - start


def measure(client: Client, url: str, photos: Path, where: Path, rounds: int) -> Jobs:
    """Each in turn, so that a slow minute falls on all of them."""
    paths = sorted(photos.rglob("*.jpg"))
    bare(client, paths[:CALLERS])
    found: dict[str, list[float]] = {"bare": [], "plain": [], "ray": [], "start": []}
    for _ in range(rounds):
        found["bare"].append(bare(client, paths))
        found["plain"].append(plain(client, photos, where))
        rate, start_s = on_ray(client, url, photos, where)
        found["ray"].append(rate)
        found["start"].append(start_s)
    middle = {name: statistics.median(values) for name, values in found.items()}
    return Jobs(
        pictures=len(paths),
        rounds=rounds,
        bare=middle["bare"],
        plain=middle["plain"],
        ray=middle["ray"],
        plain_share=_share(found["plain"], found["bare"]),
        ray_share=_share(found["ray"], found["bare"]),
        ray_start_s=middle["start"],
    )


def _share(rates: list[float], of: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(rates, of, strict=True))


def _fresh(client: Client, where: Path) -> Store:
    shutil.rmtree(where, ignore_errors=True)
    return open_store(str(where), [client], VERB, {})


def _ignore(path: str, reason: str) -> None:
    raise AssertionError(f"{path}: {reason}")
