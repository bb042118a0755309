"""
Read and judge an Ollama Modelfile, and write chat templates in the form that it needs.

``parse`` reads the file. ``go_template`` evaluates templates of Go, ``ollama`` fills them as Ollama does, ``chat_families``
translates a model's own template into them where that is certain. ``vocabulary`` says where a model stops.
"""
