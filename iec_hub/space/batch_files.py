"""The rows of a batch as files to download: the table of `iec-hub predict`, and everything as JSON."""

import io
import json
from typing import Any

from iec_hub.commands.tables import CsvTable
from iec_hub.space.batch_rows import Batch


def batch_csv(batch: Batch) -> str:
    """The columns of :class:`iec_hub.commands.tables.CsvTable`, safe to open in a spreadsheet."""
    stream = io.StringIO(newline="")
    table = CsvTable(stream, batch.labels)
    for _, row in batch.ordered:
        table.write(row)
    return stream.getvalue()


def batch_json(batch: Batch) -> str:
    """A list with, per picture, `file`, `error` and everything of :meth:`EmotionPrediction.to_dict`.

    Where the emotion model has a plane, also `valence` and `arousal`, each from -1 to 1.
    """
    return json.dumps(batch_records(batch), ensure_ascii=False, indent=1)


def batch_records(batch: Batch) -> list[dict[str, Any]]:
    """The objects of :func:`batch_json`."""
    plane, records = batch.plane, []
    for _, row in batch.ordered:
        record: dict[str, Any] = {"file": row.file, "error": row.error}
        if row.prediction is not None:
            record |= row.prediction.to_dict()
            if record["evidence"] is None:
                del record["evidence"]
            if plane is not None:
                valence, arousal = plane.place(row.prediction)
                record |= {"valence": round(valence, 4), "arousal": round(arousal, 4)}
        records.append(record)
    return records
