"""What predict_mnist.py is made of; no Chainer but in chainer_net."""
