"""Build a data set of affective captions from data sets of pictures; the same command goes on with a stopped build.

    pip install "iec-hub[data]"
    python training/build_affective_captions.py --data DIR [DIR ...] --output captions

A DIR is a data set in any layout that `iec_hub.data.load_emotion_dataset` reads (EmoSet with its own annotations), or
a folder with a `metadata.csv` without labels. Taggers name what annotations leave open: `--taggers faces
classifier:MODEL_ID`. Read the terms of the data before you embed pictures or push anything.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from iec_hub.affect.caption_data import DEFAULT_SHARD_SIZE, DEFAULT_VARIANTS, IMAGE_MODES, build_caption_data
from iec_hub.errors import IecHubError
from iec_hub.hub import publish_dataset


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="folders or Hub ids of data sets")
    parser.add_argument("--output", type=Path, required=True, help="a new folder, or that of a stopped build")
    parser.add_argument("--taggers", nargs="+", default=[], metavar="SPEC", help='such as "faces", "classifier:ID"')
    parser.add_argument("--variants", type=int, default=DEFAULT_VARIANTS, help="varied phrasings per picture")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="threads that decode pictures (default: one per core)")
    parser.add_argument("--shard_size", type=int, default=DEFAULT_SHARD_SIZE, help="rows written at a time")
    parser.add_argument("--images", choices=IMAGE_MODES, default="path", help="name the pictures, or copy them")
    parser.add_argument("--push_to_hub", metavar="ID", help="upload as this data set, private unless --public")
    parser.add_argument("--public", action="store_true", help="let everybody see the upload")
    options = parser.parse_args(arguments)
    try:
        report = build_caption_data(
            options.data,
            options.output,
            taggers=_taggers(options.taggers),
            variants=options.variants,
            seed=options.seed,
            workers=options.workers,
            shard_size=options.shard_size,
            images=options.images,
        )
        rows = ", ".join(f"{split} {count}" for split, count in report.rows.items())
        print(f"{options.output}: {rows}; {report.skipped} rows left out, see skipped.csv")
        if options.push_to_hub:
            done = publish_dataset(options.output, options.push_to_hub, private=not options.public)
            print(f"Pushed to {done.commit_url}")
    except IecHubError as error:
        parser.exit(1, f"{error}\n")


def _taggers(specs: Sequence[str]) -> list:
    if not specs:
        return []
    from iec_hub.affect.taggers import load_tagger

    return [load_tagger(spec) for spec in specs]


if __name__ == "__main__":
    main()
