"""Rank correlation of predicted positive mass with the valence of the BASS silhouettes; prints one JSON line.

python benchmarks/bass.py
"""

import argparse
import json
from pathlib import Path

from iec_hub.evaluation.bass import bass_correlation
from iec_hub.predictor import EmotionPredictor

BASS = Path(__file__).parents[1] / "tests" / "fixtures" / "bass"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=BASS, help="holds BASS_data.csv and images/")
    parser.add_argument("--model", help="checkpoint; the bundled one if left out")
    parser.add_argument("--emotion-model", help="the checkpoint's default one if left out")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    predictor = EmotionPredictor.from_pretrained(given.model)
    result = bass_correlation(
        predictor,
        given.folder,
        emotion_model=given.emotion_model,
        batch_size=given.batch_size,
        seed=given.seed,
    )
    print(json.dumps({"data": "bass", "seed": given.seed, **result}))


if __name__ == "__main__":
    main()
