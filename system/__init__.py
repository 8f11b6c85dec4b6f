"""Files, signals, the command line; no Chainer, nothing of neural networks."""
