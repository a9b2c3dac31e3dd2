"""What the files of models, LoRAs and ControlNets are, by their headers and settings, before anything is loaded.

The doctor, the bot and the engine process ask the same functions, so they say the same sentences. Nothing here imports
torch or diffusers, opens a pickle, or reads more of a file than its header and at most one small tensor.

- `header.py`: the header of a .safetensors file, and what a file is that has none.
- `gguf.py`: the same of a GGUF file.
- `sizes.py`: how many numbers the parts of a model have.
- `contents.py`: what the tensors of a header are: a checkpoint, a VAE, a LoRA, ...
- `settings.py`: JSON files, and the classes that the installed diffusers knows.
- `folder.py`, `single_file.py`: models as a diffusers folder and as one file.
- `adapters.py`: LoRAs and ControlNets, and whether they fit a model.
- `sampling.py`: which samplers and how many steps a model can be painted with.
- `operations.py`: whether a model can start from pictures, repaint parts of them, and enlarge them.
- `recognise.py`: a model of the configuration with everything that belongs to it.
"""
