"""MNIST and whatever else becomes pixels, as NumPy arrays; no Chainer."""
