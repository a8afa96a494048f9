"""Write `iec_hub/affect/sentibank_concepts.json`: SentiBank's ANPs with the sentiment published for them.

    python training/build_concept_vocabulary.py --concepts sentibank_2089_anps.json --sentiment vso_anp_sentiment.txt

The sentiment file of the Visual Sentiment Ontology has a pair and a number from -2 to 2 on every line.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from iec_hub.affect.concepts import plain_concept

OUTPUT = Path(__file__).parents[1] / "iec_hub" / "affect" / "sentibank_concepts.json"
SOURCE = (
    "SentiBank's 2,089 adjective-noun pairs and the sentiment of the Visual Sentiment Ontology (-2 to 2, null where "
    "none was published): Borth, Ji, Chen, Breuel, Chang, 'Large-scale visual sentiment ontology and detectors using "
    "adjective noun pairs', ACM Multimedia 2013."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concepts", type=Path, required=True)
    parser.add_argument("--sentiment", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    sentiment = {}
    for line in arguments.sentiment.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(" ")
        if value and "_" in name:
            sentiment[plain_concept(name)] = float(value)
    names = [plain_concept(name) for name in json.loads(arguments.concepts.read_text(encoding="utf-8"))]
    content = {"source": SOURCE, "concepts": {name: sentiment.get(name) for name in names}}
    arguments.output.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
