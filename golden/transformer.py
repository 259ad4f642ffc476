#!/usr/bin/env python3
"""Golden numbers: a small GPT-2 and a small LLaMA of Hugging Face's transformers, with logits, losses and gradients.

    python golden/transformer.py        # needs torch, transformers and safetensors; written with 2.15.0 and 5.23.0

Writes golden/transformer.safetensors. Every tensor is called `<model>/<name>`; weights and gradients have Recurra's names:
queries, keys and values are one matrix, and so are gate and upward map of a gated feed-forward part.
"""
import pathlib

import torch
import transformers
from safetensors.torch import save_file

VOCAB, WIDTH, HEADS, LAYERS, CONTEXT, TIME, BATCH = 11, 8, 2, 2, 12, 10, 3


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=VOCAB, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_positions=CONTEXT,
        bos_token_id=0, eos_token_id=0, attn_implementation="eager",
    )
    return transformers.GPT2LMHeadModel(config)


def llama():
    config = transformers.LlamaConfig(
        vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=32, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager",
    )
    return transformers.LlamaForCausalLM(config)


def ours_of_gpt2(theirs):
    """GPT-2 keeps its matrices as (in, out)."""
    ours = {"embedding.weight": theirs["transformer.wte.weight"],
            "transformer.positions.weight": theirs["transformer.wpe.weight"]}
    parts = {"attention_norm": "ln_1", "attention.qkv": "attn.c_attn", "attention.output": "attn.c_proj",
             "feed_forward_norm": "ln_2", "feed_forward.input": "mlp.c_fc", "feed_forward.output": "mlp.c_proj"}
    for layer in range(LAYERS):
        for our, their in parts.items():
            weight = theirs[f"transformer.h.{layer}.{their}.weight"]
            ours[f"transformer.{layer}.{our}.weight"] = weight.T if weight.dim() == 2 else weight
            ours[f"transformer.{layer}.{our}.bias"] = theirs[f"transformer.h.{layer}.{their}.bias"]
    for kind in ("weight", "bias"):
        ours[f"transformer.norm.{kind}"] = theirs[f"transformer.ln_f.{kind}"]
    return ours


def ours_of_llama(theirs):
    ours = {"embedding.weight": theirs["model.embed_tokens.weight"],
            "output.weight": theirs["lm_head.weight"],
            "transformer.norm.weight": theirs["model.norm.weight"]}
    parts = {"attention_norm": ["input_layernorm"],
             "attention.qkv": [f"self_attn.{part}_proj" for part in "qkv"],
             "attention.output": ["self_attn.o_proj"],
             "feed_forward_norm": ["post_attention_layernorm"],
             "feed_forward.input": ["mlp.gate_proj", "mlp.up_proj"],
             "feed_forward.output": ["mlp.down_proj"]}
    for layer in range(LAYERS):
        for our, their in parts.items():
            weights = [theirs[f"model.layers.{layer}.{part}.weight"] for part in their]
            ours[f"transformer.{layer}.{our}.weight"] = torch.cat(weights)
    return ours


def main():
    tensors = {}
    for name, build, ours in [("gpt2", gpt2, ours_of_gpt2), ("llama", llama, ours_of_llama)]:
        torch.manual_seed(2026)
        model = build().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                is_gain = parameter.dim() == 1 and bool((parameter == 1).all())
                parameter.normal_(1.0 if is_gain else 0.0, 0.3)
        ids = torch.randint(0, VOCAB, (TIME + 1, BATCH))
        logits = model(ids[:-1].T).logits.transpose(0, 1)  # (T, B, V)
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCAB), ids[1:].reshape(-1))
        loss.backward()
        values = ours({name: value.detach() for name, value in model.named_parameters()})
        gradients = ours({name: value.grad for name, value in model.named_parameters()})
        tensors |= {f"{name}/{key}": value for key, value in values.items()}
        tensors |= {f"{name}/gradient/{key}": value for key, value in gradients.items()}
        tensors |= {f"{name}/inputs": ids[:-1].float(), f"{name}/targets": ids[1:].float(),
                    f"{name}/logits": logits.detach(), f"{name}/loss": loss.detach().reshape(1)}
    path = pathlib.Path(__file__).with_suffix(".safetensors")
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    save_file(tensors, path, metadata=versions | {"program": pathlib.Path(__file__).name})


if __name__ == "__main__":
    main()
