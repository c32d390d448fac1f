"""Run by a python that has vLLM and transformers: a tiny model of a class outside vLLM's registry, with
random weights, asked for a few tokens. Exits with 0 if it answered.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

_SIZES: dict[str, dict[str, Any]] = {
    "T5ForConditionalGeneration": {
        "d_model": 128,
        "d_kv": 64,
        "d_ff": 128,
        "num_layers": 2,
        "num_heads": 2,
        "decoder_start_token_id": 0,
    },
    "PersimmonForCausalLM": {
        "hidden_size": 128,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 256,
    },
}


def main() -> None:
    """Arguments: the class, a folder for the model, a folder with a tokenizer of 1,024 words."""
    name, folder, tokenizer = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    cls = getattr(transformers, name)
    config = cls.config_class(vocab_size=1024, **_SIZES[name])
    cls(config).to(torch.bfloat16).save_pretrained(folder)
    for path in tokenizer.glob("token*"):
        shutil.copy(path, folder)
    vllm: Any = importlib.import_module("vllm")
    served = vllm.LLM(str(folder), max_model_len=128, enforce_eager=True, dtype="bfloat16")
    (answer,) = served.generate(["hello"], vllm.SamplingParams(max_tokens=4))
    assert len(answer.outputs[0].token_ids) == 4


if __name__ == "__main__":
    main()
