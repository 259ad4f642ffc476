"""What the authors' own program makes of an sLSTM block and an mLSTM block: outputs and gradients.

    pip install torch==2.15 safetensors xlstm==2.0.6
    python golden/xlstm_blocks.py     # writes golden/xlstm_blocks.safetensors

Beck et al. (2024), "xLSTM". Everything is in f64 with weights drawn at random. Three things differ from the program's defaults,
because Recurra has them so: no 1e-6 is added to the divisor of the mLSTM (the paper has none), GELU is the approximation with
tanh, and the sLSTM runs on the plain backend. Norms keep their gain minus one there, and are written here as gains.
"""

import functools
import pathlib

import torch
from safetensors.torch import save_file
from xlstm.blocks.mlstm.backends import parallel_stabilized_simple
from xlstm.blocks.mlstm.block import mLSTMBlock, mLSTMBlockConfig
from xlstm.blocks.mlstm.layer import mLSTMLayerConfig
from xlstm.blocks.slstm.block import sLSTMBlock, sLSTMBlockConfig
from xlstm.blocks.slstm.layer import sLSTMLayerConfig
from xlstm.components import feedforward
from xlstm.components.feedforward import FeedForwardConfig

TIME, BATCH, WIDTH, HEADS = 11, 2, 16, 2

torch.manual_seed(3)
torch.set_default_dtype(torch.float64)
feedforward._act_fn_registry["gelu"] = functools.partial(
    torch.nn.functional.gelu, approximate="tanh"
)


def rounded(tensor):
    """To numbers that `f32` has, so that both programs begin with the same."""
    return tensor.float().double()


def mlstm():
    layer = mLSTMLayerConfig(
        embedding_dim=WIDTH, num_heads=HEADS, context_length=TIME, _num_blocks=1,
        round_proj_up_to_multiple_of=1,
    )
    block = mLSTMBlock(mLSTMBlockConfig(mlstm=layer, _num_blocks=1, _block_idx=0))
    block.xlstm.mlstm_cell.backend_fn = functools.partial(parallel_stabilized_simple, eps=0.0)
    inner = 2 * WIDTH

    def named(of):
        """Our parameters from theirs, or our gradients from theirs."""
        layer, cell = block.xlstm, block.xlstm.mlstm_cell
        up, gate = of(layer.proj_up.weight).split(inner)
        gates = torch.cat([of(cell.igate.weight), of(cell.fgate.weight)])  # (2·A, 3·I)
        of_q, of_k, of_v = gates.split(inner, dim=1)
        return {
            "norm": of(block.xlstm_norm.weight, is_norm=True),
            "up": up,
            "gate": gate,
            "conv.weight": of(layer.conv1d.conv.weight),
            "conv.bias": of(layer.conv1d.conv.bias),
            "query": of(layer.q_proj.weight),
            "key": of(layer.k_proj.weight),
            "value": of(layer.v_proj.weight),
            "gates.query": of_q,
            "gates.key": of_k,
            "gates.value": of_v,
            "gates.bias": torch.cat([of(cell.igate.bias), of(cell.fgate.bias)]),
            "head_norm": of(cell.outnorm.weight, is_norm=True),
            "skip": of(layer.learnable_skip).reshape(inner, 1, 1),
            "down": of(layer.proj_down.weight),
        }

    return block, named


def slstm():
    layer = sLSTMLayerConfig(
        embedding_dim=WIDTH, num_heads=HEADS, backend="vanilla", dtype="float32",
        enable_automatic_mixed_precision=True,
    )
    ffn = FeedForwardConfig(embedding_dim=WIDTH, proj_factor=4 / 3, act_fn="gelu")
    config = sLSTMBlockConfig(slstm=layer, feedforward=ffn, _num_blocks=1, _block_idx=0)
    block = sLSTMBlock(config)
    units = WIDTH // HEADS

    def named(of):
        layer, cell = block.xlstm, block.xlstm.slstm_cell
        # The layer hands the product with `fgate` to the cell as i, and that with `igate` as f.
        of_i, of_f = of(layer.fgate.weight), of(layer.igate.weight)
        bias = of(cell._bias_).reshape(4, HEADS, units).transpose(0, 1)
        return {
            "norm": of(block.xlstm_norm.weight, is_norm=True),
            "conv.weight": of(layer.conv1d.conv.weight),
            "conv.bias": of(layer.conv1d.conv.bias),
            "input_forget": torch.cat([of_i, of_f], dim=1),
            "cell_output": torch.cat([of(layer.zgate.weight), of(layer.ogate.weight)], dim=1),
            "recurrent": of(cell._recurrent_kernel_),
            "bias": bias.reshape(HEADS, 4 * units),
            "head_norm": of(layer.group_norm.weight, is_norm=True),
            "ffn_norm": of(block.ffn_norm.weight, is_norm=True),
            "ffn_up": of(block.ffn.proj_up.weight),
            "ffn_down": of(block.ffn.proj_down.weight),
        }

    return block, named


def main():
    tensors = {}
    for name, make in [("mlstm", mlstm), ("slstm", slstm)]:
        block, named = make()
        with torch.no_grad():
            for parameter in block.parameters():
                parameter.copy_(rounded(0.4 * torch.randn_like(parameter)))
        x = rounded(torch.randn(BATCH, TIME, WIDTH)).requires_grad_()
        weight = rounded(torch.randn(BATCH, TIME, WIDTH))
        y = block(x)
        (y * weight).sum().backward()
        steps = lambda tensor: tensor.detach().transpose(0, 1)  # (T, B, H)
        tensors |= {
            f"{name}/x": steps(x),
            f"{name}/y": steps(y),
            f"{name}/d_y": steps(weight),
            f"{name}/d_x": steps(x.grad),
        }
        value = lambda p, is_norm=False: p.detach() + 1 if is_norm else p.detach()
        gradient = lambda p, is_norm=False: p.grad
        tensors |= {f"{name}/{key}": part for key, part in named(value).items()}
        tensors |= {f"{name}/d/{key}": part for key, part in named(gradient).items()}
    tensors = {key: tensor.contiguous().float() for key, tensor in tensors.items()}
    path = pathlib.Path(__file__).with_suffix(".safetensors")
    save_file(tensors, path, metadata={"torch": torch.__version__, "xlstm": "2.0.6"})
    print(f"{path}: {sum(tensor.numel() for tensor in tensors.values())} values")


if __name__ == "__main__":
    main()
