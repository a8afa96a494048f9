"""A data set of affective captions from data sets of pictures: one parquet file per split, with a card.

A build is cut into shards that are written whole or not at all, so that a build which was cut short goes on where it
stopped. A caption's wording depends on the seed and on the picture's id, never on how the work was shared out.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iec_hub.affect.attributes import ImageAttributes, Tagger, describe
from iec_hub.affect.caption_card import CARD_NAME, DATA_FOLDER, CaptionCounts, CaptionDataReport, card_text
from iec_hub.affect.caption_rows import caption_features, caption_row
from iec_hub.affect.caption_sources import CaptionItem, CaptionSource, read_caption_source
from iec_hub.commands.tables import safe_cell
from iec_hub.data.labels import shown
from iec_hub.errors import DataError, IecHubError
from iec_hub.images import MAX_BYTES, open_image

if TYPE_CHECKING:
    from PIL import Image

DEFAULT_VARIANTS = 4
DEFAULT_SHARD_SIZE = 500
IMAGE_MODES = ("path", "bytes")
_FORMAT = 1
_BUILD, _SKIPPED = ".build", "skipped.csv"
# Pictures that are open at once: a batch for the taggers, and the next one being decoded.
_BATCH = 32
# As many pixels as finding a face needs; the same with and without taggers, so that the figures are too.
_MAX_SIDE = 640
_SKIPPED_KEY = b"iec_hub.skipped"


@dataclass(frozen=True)
class _Settings:
    """All that decides what is in the rows, apart from the pictures."""

    variants: int
    seed: int
    shard_size: int
    images: str
    taggers: tuple[Tagger, ...]


def build_caption_data(
    sources: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    taggers: Sequence[Tagger] = (),
    variants: int = DEFAULT_VARIANTS,
    seed: int = 0,
    workers: int | None = None,
    shard_size: int = DEFAULT_SHARD_SIZE,
    images: str = "path",
) -> CaptionDataReport:
    """Writes `data/<split>.parquet`, `README.md` and `skipped.csv` into `output`.

    The same call goes on with a build that was cut short, and leaves a finished one as it is. Columns are those of
    :func:`~iec_hub.affect.caption_rows.caption_features`. A picture that cannot be opened is a row of `skipped.csv`.

    Args:
        sources: data sets as :func:`~iec_hub.affect.caption_sources.read_caption_source` takes them.
        output: a folder that is empty, new, or holds this build.
        taggers: asked for what annotations leave open; they run in the calling thread, in batches.
        variants: varied phrasings per picture, at most; there may be fewer where there is little to say.
        workers: threads that decode pictures and compute their attributes; by default one per core.
        shard_size: rows that are lost at most when a build is cut short.
        images: "path" keeps the file's name only; "bytes" copies the pictures' files into the parquet files.

    Raises:
        DataError: If an argument or a data set cannot be used, or `output` holds something else.
    """
    if images not in IMAGE_MODES or variants < 0 or shard_size < 1 or (workers is not None and workers < 1):
        raise DataError(
            "A build needs images path or bytes, variants of 0 or more, and a shard size and workers >= 1."
        )
    settings = _Settings(variants, seed, shard_size, images, tuple(taggers))
    read = [read_caption_source(source) for source in sources]
    names = [source.name for source in read]
    if len(set(names)) < len(names) or not names:
        raise DataError("Data sets are told apart by their folders' names; give at least one, and each name once.")
    output = Path(output)
    fingerprint = _fingerprint(read, settings)
    finished = _opened(output, fingerprint)
    if finished is not None:
        return finished
    splits = _by_split(read)
    total = sum(len(items) for items in splits.values())
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool, _progress(total) as bar:
        try:
            for split, items in splits.items():
                for number, start in enumerate(range(0, len(items), shard_size)):
                    shard = items[start : start + shard_size]
                    path = _shard(output, split, number)
                    if not path.exists():
                        _write_shard(path, shard, split, settings, pool)
                    bar.update(len(shard))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return _finish(output, read, splits, settings, fingerprint)


def _by_split(sources: Iterable[CaptionSource]) -> dict[str, list[CaptionItem]]:
    """Split -> its pictures; "train" where a data set has no splits, as `datasets` has it."""
    splits: dict[str, list[CaptionItem]] = {}
    for source in sources:
        for item in source.items:
            splits.setdefault(re.sub(r"\W", "_", item.split or "train"), []).append(item)
    usual = [name for name in ("train", "validation", "test") if name in splits]
    return {name: splits[name] for name in (*usual, *sorted(splits.keys() - set(usual)))}


def _fingerprint(sources: Sequence[CaptionSource], settings: _Settings) -> str:
    """Changes when anything that the rows depend on does; of a picture's file, its size."""
    digest = hashlib.sha256()
    taggers = [(tagger.name, sorted(tagger.attributes)) for tagger in settings.taggers]
    about = [_FORMAT, settings.variants, settings.seed, settings.shard_size, settings.images, taggers]
    digest.update(json.dumps(about).encode())
    for item in (item for source in sources for item in source.items):
        fields = {name: value for name, value in vars(item).items() if name != "image"}
        size = os.path.getsize(item.image) if isinstance(item.image, Path) and item.image.exists() else None
        digest.update(json.dumps([fields, size], default=str).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _opened(output: Path, fingerprint: str) -> CaptionDataReport | None:
    """Makes the output ready; its report if this build is already finished there.

    Raises:
        DataError: If the folder holds something else.
    """
    state = output / _BUILD / "state.json"
    try:
        if not state.is_file():
            if output.exists() and any(output.iterdir()):
                raise DataError(f"{shown(output.name)} is not empty; give a new folder as the output.")
            state.parent.mkdir(parents=True, exist_ok=True)
            _write_text(state, json.dumps({"fingerprint": fingerprint}))
            return None
        content = json.loads(state.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise DataError(f"{shown(output.name)} cannot be used as the output; give a new folder.") from error
    if content.get("fingerprint") != fingerprint:
        raise DataError(
            f"{shown(output.name)} holds a build of other data or other settings; give a new folder or delete it."
        )
    return CaptionDataReport(**content["report"]) if "report" in content else None


def _progress(total: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit="image", file=sys.stderr, disable=None, leave=False)


def _shard(output: Path, split: str, number: int) -> Path:
    return output / _BUILD / f"{split}-{number:05d}.parquet"


def _write_shard(
    path: Path, items: Sequence[CaptionItem], split: str, settings: _Settings, pool: ThreadPoolExecutor
) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows, skipped = [], []
    for item, attributes, content in _described(items, settings, pool):
        if isinstance(attributes, str):
            skipped.append([item.dataset, split, item.origin, attributes])
            continue
        row = caption_row(item, attributes, settings.variants, settings.seed) | {"split": split}
        if settings.images == "bytes":
            row["image"] = {"bytes": content, "path": Path(item.file_name).name}
        rows.append(row)
    schema = caption_features(settings.images).arrow_schema
    table = pa.Table.from_pylist(rows, schema=schema)
    # In the file itself, so that rows and what was left out are written together or not at all.
    table = table.replace_schema_metadata({**schema.metadata, _SKIPPED_KEY: json.dumps(skipped).encode()})
    part = path.with_suffix(".part")
    parquet.write_table(table, part)
    os.replace(part, path)


def _described(
    items: Sequence[CaptionItem], settings: _Settings, pool: ThreadPoolExecutor
) -> Iterator[tuple[CaptionItem, ImageAttributes | str, bytes | None]]:
    """Each picture with its attributes, or with the reason why it cannot be used, in order."""
    batches = [items[start : start + _BATCH] for start in range(0, len(items), _BATCH)]

    def opened(batch: Sequence[CaptionItem]) -> Iterator[tuple[Any, bytes | None]]:
        return pool.map(lambda item: _opened_item(item, settings), batch)

    ahead = opened(batches[0]) if batches else iter(())
    for number, batch in enumerate(batches):
        results, ahead = ahead, opened(batches[number + 1]) if number + 1 < len(batches) else iter(())
        loaded = list(results)
        if settings.taggers:
            loaded = _tagged(batch, loaded, settings.taggers)
        yield from ((item, *result) for item, result in zip(batch, loaded, strict=True))


def _opened_item(item: CaptionItem, settings: _Settings) -> tuple[ImageAttributes | Image.Image | str, bytes | None]:
    """The attributes, or the picture itself where taggers have to see it; a text says what is wrong."""
    try:
        image = open_image(item.image, max_side=_MAX_SIDE)
        content = _file_content(item.image) if settings.images == "bytes" else None
        if settings.taggers:
            return image, content
        return describe([image], [item.annotations])[0], content
    except IecHubError as error:
        return str(error), None
    except OSError as error:
        return f"The picture's file cannot be read ({error.strerror}); check it.", None


def _file_content(image: Any) -> bytes:
    if isinstance(image, Path):
        return image.read_bytes()
    return image.read(MAX_BYTES)


def _tagged(
    batch: Sequence[CaptionItem], loaded: Sequence[tuple[Any, bytes | None]], taggers: Sequence[Tagger]
) -> list[tuple[ImageAttributes | str, bytes | None]]:
    usable = [index for index, (image, _) in enumerate(loaded) if not isinstance(image, str)]
    described = describe([loaded[i][0] for i in usable], [batch[i].annotations for i in usable], taggers)
    results = list(loaded)
    for index, attributes in zip(usable, described, strict=True):
        results[index] = (attributes, loaded[index][1])
    return results


def _finish(
    output: Path,
    sources: Sequence[CaptionSource],
    splits: dict[str, list[CaptionItem]],
    settings: _Settings,
    fingerprint: str,
) -> CaptionDataReport:
    """Joins the shards into one file per split, and writes the card and the list of what was left out."""
    skipped = [[source.name, row.split or "", row.origin, row.reason] for source in sources for row in source.skipped]
    counts = CaptionCounts()
    (output / DATA_FOLDER).mkdir(exist_ok=True)
    for split, items in splits.items():
        shards = [_shard(output, split, number) for number in range(-(-len(items) // settings.shard_size))]
        skipped += _join(shards, output / DATA_FOLDER / f"{split}.parquet", split, settings, counts)
    report = counts.report(len(skipped))
    if not report.rows:
        raise DataError(f"No picture could be used; the first of {len(skipped)}: {skipped[0][2]}: {skipped[0][3]}")
    _write_skipped(output / _SKIPPED, skipped)
    card = card_text(report, settings.images, settings.variants, settings.seed, [t.name for t in settings.taggers])
    _write_text(output / CARD_NAME, card)
    _write_text(output / _BUILD / "state.json", json.dumps({"fingerprint": fingerprint, "report": asdict(report)}))
    for shard in (output / _BUILD).glob("*.parquet"):
        shard.unlink()
    return report


def _join(
    shards: Sequence[Path], path: Path, split: str, settings: _Settings, counts: CaptionCounts
) -> list[list[str]]:
    """Writes a split's file, if it has rows; gives what its shards left out."""
    from pyarrow import parquet

    schema = caption_features(settings.images).arrow_schema
    skipped: list[list[str]] = []
    part = path.with_suffix(".part")
    rows = 0
    with parquet.ParquetWriter(part, schema) as writer:
        for shard in shards:
            table = parquet.read_table(shard)
            skipped += json.loads(table.schema.metadata[_SKIPPED_KEY])
            counts.add(table, split)
            rows += table.num_rows
            writer.write_table(table.replace_schema_metadata(schema.metadata))
    if rows:
        os.replace(part, path)
    else:
        part.unlink()
    return skipped


def _write_skipped(path: Path, rows: Sequence[Sequence[str]]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("dataset", "split", "row", "reason"))
        writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    os.replace(part, path)


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
