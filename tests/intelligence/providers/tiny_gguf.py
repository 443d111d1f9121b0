"""A language model of half a megabyte with random weights, as a GGUF file that llama.cpp loads.

It knows nothing, but its likes are chosen. The first number of every embedding is a large constant, so after
the last norm the first column of the output layer is a bias per token. Bound to a JSON schema it closes what
it can, writes 5 for every number and so gives a forecast that holds together; unbound it never stops.
Format: llama.cpp's gguf specification, version 3.
"""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

WIDTH: Final = 64
HIDDEN: Final = 128
HEADS: Final = 4
CONTEXT: Final = 8_192
ALIGNMENT: Final = 32
_UINT32, _INT32, _FLOAT32, _STRING, _ARRAY = 4, 5, 6, 8, 9
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_TEMPLATE: Final = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
_LIKES: Final = {'"': 6.0, "]": 5.0, ",": 4.0, "}": 4.0, "5": 3.0, "f": 3.0, "-": -3.0, "\\": -3.0}
_BLANKS: Final = {" ", "\t", "\n", "\r", "\u2581"}

Tensor: TypeAlias = "tuple[str, tuple[int, ...], array[float]]"


def write_model(path: Path, layers: int = 2, seed: int = 7) -> Path:
    """Write the model; more layers make one that takes longer to load. The same seed, the same bytes."""
    tokens, kinds = _vocabulary()
    tensors = _tensors(tokens, layers, random.Random(seed))
    facts = [
        _fact("general.architecture", _STRING, _text("llama")),
        _fact("general.name", _STRING, _text("random, SIMULATED")),
        _number("llama.context_length", CONTEXT),
        _number("llama.embedding_length", WIDTH),
        _number("llama.block_count", layers),
        _number("llama.feed_forward_length", HIDDEN),
        _number("llama.attention.head_count", HEADS),
        _number("llama.attention.head_count_kv", HEADS),
        _number("llama.rope.dimension_count", WIDTH // HEADS),
        _fact("llama.attention.layer_norm_rms_epsilon", _FLOAT32, struct.pack("<f", 1e-5)),
        _fact("tokenizer.ggml.model", _STRING, _text("llama")),
        _list("tokenizer.ggml.tokens", _STRING, [_text(token) for token in tokens]),
        _list("tokenizer.ggml.scores", _FLOAT32, [struct.pack("<f", -float(n)) for n in range(len(tokens))]),
        _list("tokenizer.ggml.token_type", _INT32, [struct.pack("<i", kind) for kind in kinds]),
        _number("tokenizer.ggml.unknown_token_id", 0),
        _number("tokenizer.ggml.bos_token_id", 1),
        _number("tokenizer.ggml.eos_token_id", 2),
        _fact("tokenizer.chat_template", _STRING, _text(_TEMPLATE)),
    ]
    infos, offset = [], 0
    for name, shape, numbers in tensors:
        infos.append(_text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset))
        offset += len(numbers) * 4  # every tensor here is a multiple of the alignment
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts)) + b"".join([*facts, *infos])
    body = b"".join(numbers.tobytes() for _, _, numbers in tensors)
    path.write_bytes(head + bytes(-len(head) % ALIGNMENT) + body)
    return path


def _vocabulary() -> tuple[list[str], list[int]]:
    """Every byte, and every printable character by itself; the space is U+2581."""
    letters = [chr(code) for code in range(0x21, 0x7F)]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{code:02X}>" for code in range(256)), "\u2581", *letters]
    special = [_UNKNOWN, _CONTROL, _CONTROL]
    return tokens, [*special, *[_BYTE] * 256, *[_NORMAL] * (len(tokens) - 259)]


def _tensors(tokens: Sequence[str], layers: int, dice: random.Random) -> list[Tensor]:
    def noise(size: int) -> array[float]:
        return array("f", (dice.uniform(-0.05, 0.05) for _ in range(size)))

    embedding, output = noise(len(tokens) * WIDTH), noise(len(tokens) * WIDTH)
    for place, token in enumerate(tokens):
        embedding[place * WIDTH] = 1.0
        output[place * WIDTH] = _like(token)
    ones = array("f", [1.0] * WIDTH)
    tensors: list[Tensor] = [
        ("token_embd.weight", (WIDTH, len(tokens)), embedding),
        ("output.weight", (WIDTH, len(tokens)), output),
        ("output_norm.weight", (WIDTH,), ones),
    ]
    squares = {name: noise(WIDTH * WIDTH) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    wide, narrow = {name: noise(WIDTH * HIDDEN) for name in ("ffn_gate", "ffn_up")}, noise(WIDTH * HIDDEN)
    for layer in range(layers):  # all alike
        block = f"blk.{layer}."
        tensors += [(f"{block}{name}_norm.weight", (WIDTH,), ones) for name in ("attn", "ffn")]
        tensors += [(f"{block}{name}.weight", (WIDTH, WIDTH), square) for name, square in squares.items()]
        tensors += [(f"{block}{name}.weight", (WIDTH, HIDDEN), numbers) for name, numbers in wide.items()]
        tensors.append((f"{block}ffn_down.weight", (HIDDEN, WIDTH), narrow))
    return tensors


def _like(token: str) -> float:
    if token.startswith("<") and len(token) > 1:
        character = chr(int(token[3:5], 16)) if token.startswith("<0x") else ""
        # A byte is worth less than the letter it stands for, the end of the answer least of all.
        return (_LIKES.get(character, 0.0) - 3.0) if character else -6.0
    return -3.0 if token[0] in _BLANKS else _LIKES.get(token, 0.0)


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _fact(name: str, kind: int, value: bytes) -> bytes:
    return _text(name) + struct.pack("<I", kind) + value


def _number(name: str, value: int) -> bytes:
    return _fact(name, _UINT32, struct.pack("<I", value))


def _list(name: str, kind: int, items: Sequence[bytes]) -> bytes:
    return _fact(name, _ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items))
