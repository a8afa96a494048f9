"""How much of a model is trained, in which precision the rest is kept, and what memory that takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

# Bytes that an optimiser keeps per trained parameter: AdamW has two float32 moments, or two of 8 bits; Adafactor's
# are rows and columns, next to nothing; SGD and Lion have one moment or none.
_STATE_BYTES = {"adafactor": 0, "sgd": 0, "lion": 4, "lion_8bit": 1, "lion_32bit": 4}
_GRADIENT_BYTES = 4


@dataclass(frozen=True)
class ParameterRow:
    """A part of the model.

    Attributes:
        part: name of the module.
        trained, frozen: parameters; what an adapter replaces is not counted a second time.
        four_bit, eight_bit: how many of the frozen ones are kept in so many bits.
        bytes: of all of it in memory.
    """

    part: str
    trained: int
    frozen: int
    four_bit: int
    eight_bit: int
    bytes: int


@dataclass(frozen=True)
class ParameterTable:
    """Parameters by part.

    Attributes:
        rows: one per part.
        total: their sum.
        training_bytes: estimate of weights, gradients and the optimiser's state; activations come on top, and depend
            on the batch.
    """

    rows: tuple[ParameterRow, ...]
    total: ParameterRow
    training_bytes: int

    @property
    def trained_share(self) -> float:
        """Share of the parameters that is trained, in [0, 1]."""
        return self.total.trained / max(1, self.total.trained + self.total.frozen)

    def to_dict(self) -> dict[str, Any]:
        """For metrics.json: the rows, the total under its own names, and the estimate."""
        total = asdict(self.total)
        total.pop("part")
        rows = [asdict(row) for row in self.rows]
        return {**total, "trained_share": self.trained_share, "training_bytes": self.training_bytes, "parts": rows}

    def __str__(self) -> str:
        few = not (self.total.four_bit or self.total.eight_bit)
        header = ["part", "trained", "frozen", *([] if few else ["4-bit", "8-bit"]), "MB"]
        lines = [header]
        for row in (*self.rows, self.total):
            bits = [] if few else [f"{row.four_bit:,}", f"{row.eight_bit:,}"]
            lines.append([row.part, f"{row.trained:,}", f"{row.frozen:,}", *bits, f"{row.bytes / 1e6:,.1f}"])
        widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
        shown = [
            "  ".join(
                [line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))]
            )
            for line in lines
        ]
        shown.append(
            f"{self.trained_share:.2%} of the parameters are trained; weights, gradients and optimiser take about "
            f"{self.training_bytes / 1e6:,.0f} MB, and activations come on top."
        )
        return "\n".join(shown)


def parameter_table(model: nn.Module, arguments: Any = None) -> ParameterTable:
    """Count a model's parameters by part.

    Args:
        model: a model, or a :class:`peft.PeftModel`.
        arguments: :class:`transformers.TrainingArguments`, of which the optimiser is read; AdamW without them.
    """
    from iec_hub.finetuning.adapters import plain_name

    counts: dict[str, list[int]] = {}
    for name, parameter, number, bits in _counted(model):
        part = counts.setdefault(plain_name(name).split(".")[0], [0] * 5)
        # Of a module that is trained in full beside an adapter, the original stays in memory unused.
        if ".original_module." not in name:
            part[0 if parameter.requires_grad else 1] += number
            part[2] += number if bits == 4 else 0
            part[3] += number if bits == 8 else 0
        part[4] += parameter.numel() * parameter.element_size()
    rows = tuple(ParameterRow(part, *numbers) for part, numbers in counts.items())
    total = ParameterRow("total", *(sum(column) for column in zip(*counts.values(), strict=True)))
    extra = (_GRADIENT_BYTES + _state_bytes(arguments)) * total.trained
    return ParameterTable(rows, total, total.bytes + extra)


def _counted(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, int, int]]:
    """Each parameter with how many numbers it holds, and in how many bits."""
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        if state is not None:  # two numbers share a byte
            yield name, parameter, torch.Size(state.shape).numel(), 4
        else:
            yield name, parameter, parameter.numel(), 8 if parameter.dtype == torch.int8 else 0


def _state_bytes(arguments: Any) -> int:
    kind = str(getattr(getattr(arguments, "optim", None), "value", getattr(arguments, "optim", "") or ""))
    kind = kind.removeprefix("paged_")
    return _STATE_BYTES.get(kind, 2 if "8bit" in kind else 8)


__all__ = ["ParameterRow", "ParameterTable", "parameter_table"]
