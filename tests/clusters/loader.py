"""A data loader in the style of torch's: daemonic workers with queues of indices, one queue of results."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from typing import Any

import opendalfs


class Objects:
    """A dataset: an item is the content of an object."""

    def __init__(self, fs: opendalfs.OpendalFileSystem, paths: list[str]) -> None:
        self.fs, self.paths = fs, paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> bytes:
        content: bytes = self.fs.cat_file(self.paths[index])
        return content


def _work(dataset: Objects, indices: Any, results: Any) -> None:
    for index in iter(indices.get, None):
        try:
            results.put((index, dataset[index]))
        except RuntimeError as error:
            results.put((index, type(error).__name__))


def load(dataset: Objects, method: str, workers: int = 2) -> Iterator[Any]:
    """Yield all items in their order, loaded by processes that `method` starts."""
    context = multiprocessing.get_context(method)
    results = context.Queue()
    queues = [context.Queue() for _ in range(workers)]
    processes = [
        context.Process(target=_work, args=(dataset, queue, results), daemon=True) for queue in queues
    ]
    for process in processes:
        process.start()
    for index in range(len(dataset)):
        queues[index % workers].put(index)
    done = dict(results.get(timeout=60) for _ in range(len(dataset)))
    for queue, process in zip(queues, processes, strict=True):
        queue.put(None)
        process.join(60)
    yield from (done[index] for index in range(len(dataset)))
