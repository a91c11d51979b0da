"""Synthetic conversations and signals: a run as it stands when the proxy has scored the corpus."""

import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from time import monotonic

import numpy as np
import pyarrow as pa
import torch

from ards_ray.arrays.seeds import generator
from ards_ray.corpus.formats import FORMATS
from ards_ray.corpus.table import CONVERSATIONS, ConversationsDetails
from ards_ray.run.directory import RunDirectory
from ards_ray.run.vectors import vector_column
from ards_ray.signals.registry import SIGNALS
from ards_ray.signals.signal import NONE, OK, SignalDetails
from ards_ray.signals.write import write_part

SEED = 42
ROWS_PER_PART = 256
# About the shares of LLaVA-665K.
SHARES = {"choice": 0.10, "phrase": 0.45, "caption": 0.03, "region": 0.10, "box": 0.10, "image": 0.16, "text": 0.06}
DIRECTIONS = 12
RECORD_BYTES = 1200


def write_synthetic(run: RunDirectory, rows: int, width: int, stamps: Mapping[str, str]) -> Iterator[int]:
    """Write conversations and their signals, a process for each core, yielding the rows of each shard.

    Args:
        run: The run.
        rows: Conversations.
        width: Numbers in a conversation vector.
        stamps: Fingerprints of the conversations and of each signal, by the names of their stages.
    """
    order = generator(SEED, "rows", b"").permutation(rows)
    shards = [np.sort(shard) for shard in np.array_split(order, -(-rows // ROWS_PER_PART))]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        os.cpu_count(), mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        arguments = ((run.url, number, shard, width, stamps) for number, shard in enumerate(shards))
        yield from pool.map(_write_part, arguments, chunksize=4)


def _write_part(arguments: tuple[str, int, np.ndarray, int, Mapping[str, str]]) -> int:
    url, number, rows, width, stamps = arguments
    run = RunDirectory(url)
    random = generator(SEED, "part", str(number).encode())
    formats = random.choice(len(FORMATS), size=len(rows), p=[SHARES[name] for name in FORMATS])
    names = [FORMATS[code] for code in formats]
    started = monotonic()
    name = f"part-{number:05d}"
    counts = ConversationsDetails(dict(Counter(names)), ["synthetic.json"])
    table = _conversations(rows, names, random)
    CONVERSATIONS.write(run, name, table, stamps["conversations"], started, counts)
    order = np.argsort(formats, kind="stable")
    columns = _signals(rows[order], formats[order], width, random)
    for signal in SIGNALS.values():
        own = signal.table.schema(width)
        status = columns["corrupted status"] if signal.versions == "corrupted" else columns["status"]
        values = [status if field.name == "status" else columns[field.name] for field in own]
        table = pa.table(values, schema=own).append_column("format", columns["format"])
        write_part(run, signal, name, table, stamps[f"signals/{signal.name}"], started, SignalDetails())
    return len(rows)


def _conversations(rows: np.ndarray, names: list[str], random: np.random.Generator) -> pa.Table:
    words = random.integers(1 << 32, size=(len(rows), RECORD_BYTES // 20))
    records = []
    for row, name, numbers in zip(rows.tolist(), names, words.tolist(), strict=True):
        text = " ".join(map(str, numbers))
        turns = [{"from": "human", "value": f"<image>\n{text}"}, {"from": "gpt", "value": text[:100]}]
        image = {} if name == "text" else {"image": f"{name}/{row:09d}.jpg"}
        records.append({"id": f"{row:09d}", **image, "conversations": turns})
    return pa.Table.from_arrays(
        [
            pa.array(rows),
            pa.array([record["id"] for record in records]),
            pa.array(["synthetic.json"] * len(rows)),
            pa.array(names),
            pa.array([[record["image"]] if "image" in record else [] for record in records], pa.list_(pa.string())),
            pa.array([json.dumps(record) for record in records], type=pa.large_string()),
        ],
        schema=CONVERSATIONS.schema(0),
    )


@cache
def _directions(width: int) -> np.ndarray:
    """Around what the clusters of each format lie, float32 [formats, DIRECTIONS, width]; all have a part in common."""
    random = generator(SEED, "directions", str(width).encode())
    shape = ((1, 1), (len(FORMATS), 1), (len(FORMATS), DIRECTIONS))
    shared, of_format, of_cluster = (random.standard_normal((*size, width), dtype=np.float32) for size in shape)
    return shared + of_format + of_cluster


def _signals(rows: np.ndarray, formats: np.ndarray, width: int, random: np.random.Generator) -> dict[str, pa.Array]:
    """Columns of signals and their format; both halves of a vector are unit vectors around its cluster's direction."""
    clusters = random.integers(DIRECTIONS, size=len(rows))
    vectors = random.random((len(rows), width), dtype=np.float32)
    vectors *= 4
    vectors -= 2
    vectors += _directions(width)[formats, clusters]
    halves = torch.nn.functional.normalize(torch.from_numpy(vectors).view(len(rows), 2, width // 2), dim=2)
    corruptible = formats != FORMATS.index("text")
    clean = random.gamma(2.0, 0.5, len(rows)).astype(np.float32)
    corrupted = clean + random.gamma(1.0, 0.2 + 0.05 * clusters).astype(np.float32)
    attacks = [{"choice": "symbol+permutation", "text": None}.get(FORMATS[code], "noise") for code in formats]
    return {
        "row": pa.array(rows),
        "status": pa.array([OK] * len(rows)),
        "corrupted status": pa.array([OK if attack else NONE for attack in attacks]),
        "format": pa.array([FORMATS[code] for code in formats]),
        "error": pa.nulls(len(rows), pa.string()),
        "vector": vector_column(halves.reshape(len(rows), width).half().numpy(), width),
        "clean_loss": pa.array(clean),
        "corrupted_loss": pa.array(corrupted, mask=~corruptible),
        "clean_correct": pa.array(clean < 0.5),
        "corrupted_correct": pa.array(corrupted < 0.5, mask=~corruptible),
        "corruption": pa.array(attacks, type=pa.string()),
        "target_tokens": pa.array(random.integers(1, 200, len(rows)), type=pa.int32()),
        "sequence_length": pa.array(random.integers(600, 1400, len(rows)), type=pa.int32()),
        "content": pa.array([random.bytes(32) for _ in rows], type=pa.binary(32)),
    }
