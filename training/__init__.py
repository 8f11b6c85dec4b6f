"""What train_mnist.py adds to Chainer's Trainer; no arithmetic of the net."""
