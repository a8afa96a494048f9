"""Linear maps as they are served on a processor: by oneDNN, on processors of every make.

PyTorch multiplies matrices by MKL, which leaves the widest instructions of AMD's processors unused; oneDNN is twice as
fast there. PyTorch hands it convolutions, and a linear map is one whose kernel is one place wide.
"""

from __future__ import annotations

import torch
from torch import nn

# With fewer rows, oneDNN is not done laying out the weights before MKL is done multiplying; nor with larger weights.
_FEWEST_ROWS, _LARGEST_WEIGHT = 96, 2**22
# oneDNN compiles and keeps code for each number of rows that it meets: they are filled up to few different ones.
_FEW_STEPS, _STEP_OF_MANY = 64, 256

_NO_PADDING = ((0, 0), "valid", "same")  # around a kernel of one place


def serve_by_onednn(model: nn.Module) -> None:
    """Replace a model's linear maps and 1x1 convolutions in float32 on the processor; weights stay those they are.

    The model gives the same answers but for rounding; it is not to be trained any more.
    """
    if not torch.backends.mkldnn.is_available():
        return
    for module in list(model.modules()):
        for name, part in list(module.named_children()):
            served = _served(part)
            if served is not part:
                setattr(module, name, served)


def _served(part: nn.Module) -> nn.Module:
    # Exactly these types: what is quantised or otherwise special multiplies in its own way.
    if type(part) not in (nn.Linear, nn.Conv2d) or part.weight.numel() > _LARGEST_WEIGHT:
        return part
    if part.weight.dtype != torch.float32 or part.weight.device.type != "cpu":
        return part
    if type(part) is nn.Linear:
        served: nn.Module = ServedLinear(part.in_features, part.out_features, part.bias is not None, device="meta")
    elif (part.kernel_size, part.stride, part.groups) == ((1, 1), (1, 1), 1) and part.padding in _NO_PADDING:
        served = ServedPointwise(part.in_channels, part.out_channels, 1, bias=part.bias is not None, device="meta")
    else:
        return part
    served.weight, served.bias = part.weight, part.bias
    return served.train(part.training)


class ServedLinear(nn.Linear):
    """A linear map that oneDNN computes where there are enough rows."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = inputs.numel() // self.in_features
        if rows < _FEWEST_ROWS:
            return super().forward(inputs)
        step = _FEW_STEPS if rows < _STEP_OF_MANY else _STEP_OF_MANY
        filled = nn.functional.pad(inputs.reshape(rows, -1), (0, 0, 0, -rows % step))
        # One picture, whose places are the rows; its channels lie side by side, so that nothing is copied.
        picture = filled.view(1, -1, 1, self.in_features).permute(0, 3, 1, 2)
        outputs = _pointwise(picture, self.weight[:, :, None, None], self.bias).permute(0, 2, 3, 1)
        return outputs[0, :rows, 0].reshape(*inputs.shape[:-1], self.out_features)


class ServedPointwise(nn.Conv2d):
    """A convolution with a kernel of one place that oneDNN computes."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return _pointwise(inputs, self.weight, self.bias)


def _pointwise(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """`(batch, in, height, width)` to `(batch, out, height, width)`."""
    # By name: on one thread `conv2d` itself would choose a loop over MKL's multiplications, picture by picture. One
    # place does not feel the dilation, which takes the gradients' way back to oneDNN too.
    return torch.mkldnn_convolution(inputs, weight, bias, (0, 0), (1, 1), (2, 2), 1)


__all__ = ["ServedLinear", "ServedPointwise", "serve_by_onednn"]
