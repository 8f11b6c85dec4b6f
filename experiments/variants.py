#!/usr/bin/env python
"""Trains the recipe original with one thing done in another way.

What of the original's program the recipe leaves out, and one thing that it
might be thought to do. The arguments after the name are those of
train_mnist.py.
"""
import argparse
import pathlib
import sys

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import chainer_compat

import function_quantized_linear
import net
import quantizers
import train_mnist
from layers.quantize_gradient import quantize_gradient
from recipes import build

_LOG = quantizers.Log()


def rounded_inputs():
    """The product that gives gW takes the inputs, too, rounded."""
    grad = function_quantized_linear.QuantizedLinearGrad
    forward = grad.forward

    def rounded(self, inputs):
        x, *others = inputs
        return forward(self, (_LOG(x), *others))

    grad.forward = rounded


def small_gradients():
    """All gradients are 1/64 of theirs: the same as 64 times Adam's eps."""
    make_optimizer = build.make_optimizer

    def make(settings, model):
        optimizer = make_optimizer(settings, model)
        optimizer.eps *= 64
        return optimizer

    build.make_optimizer = make


def rounded_activations():
    """The activations round their upstream gradient as well."""
    qst = net.qst

    def rounded_qst(x, quantizer):
        return quantize_gradient(qst(x, quantizer), _LOG)

    net.qst = rounded_qst


VARIANTS = {f.__name__.replace('_', '-'): f
            for f in (rounded_inputs, small_gradients, rounded_activations)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, epilog='; '.join(
        f'{name}: {f.__doc__}' for name, f in VARIANTS.items()))
    parser.add_argument('variant', choices=VARIANTS)
    args, others = parser.parse_known_args()
    sys.argv[1:] = ['--recipe', 'original', *others]
    VARIANTS[args.variant]()
    train_mnist.main()


if __name__ == '__main__':
    main()
