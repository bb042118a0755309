"""Turn base and adapter into the files that ship: merged folder, GGUF, LoRA as GGUF, Modelfile."""
