"""The network that train_speed.py trains: here, in Chainer and in PyTorch.

Its shape is that of ``args``: ``unit`` and ``layers``, and ``channels`` and
``blocks`` as train_mnist.py has them. Layer k is ``l{k}`` with ``bn{k}``.
"""
import chainer_compat
import chainer
import chainer.functions as F
import chainer.links as L
import numpy

from layers import blocks
from layers.blocks import PAD
from net import MnistConvNet, MnistMLP

SHAPE = 28, 28


def weight_shapes(args):
    """Returns the shapes of the weights, and the pooling behind each layer."""
    shapes = blocks.weight_shapes(args.channels, args.blocks, SHAPE,
                                  [args.unit] * args.layers + [10])
    pool_sizes = blocks.pool_sizes(args.channels, args.blocks)
    return shapes, pool_sizes + [1] * (len(shapes) - len(pool_sizes))


def of_project(args, quantizer):
    """Returns the network of this project."""
    kwargs = {'n_hidden': args.layers, 'weight_quantizer': quantizer,
              'activation_quantizer': quantizer}
    if args.channels:
        return MnistConvNet(SHAPE, args.channels, args.unit, 10, args.blocks,
                            **kwargs)
    return MnistMLP(784, args.unit, 10, **kwargs)


class Binarize(chainer.FunctionNode):
    """Binarization as one writes it first, by numpy.where."""

    def __init__(self, masked):
        self.masked = masked

    def forward(self, inputs):
        self.retain_inputs((0,))
        x, = inputs
        return numpy.where(x >= 0, 1, -1).astype(x.dtype),

    def backward(self, indexes, grad_outputs):
        if not self.masked:
            return grad_outputs
        x, = self.get_retained_inputs()
        return grad_outputs[0] * (abs(x.array) <= 1),


class WhereLinear(L.Linear):
    """Linear link with binarized weights."""

    def forward(self, x):
        return F.linear(x, Binarize(False).apply((self.W,))[0], self.b)


class WhereConvolution(L.Convolution2D):
    """Convolution with binarized weights."""

    def forward(self, x):
        return F.convolution_2d(
            x, Binarize(False).apply((self.W,))[0], self.b, pad=self.pad)


class Where(chainer.Chain):
    """Binary network of Chainer's own links."""

    def __init__(self, args):
        super().__init__()
        shapes, self.pool_sizes = weight_shapes(args)
        self.has_images = args.channels > 0
        with self.init_scope():
            for k, (n_out, n_in, *ksize) in enumerate(shapes, 1):
                setattr(self, f'l{k}', WhereConvolution(
                    n_in, n_out, ksize[0], pad=PAD) if ksize
                    else WhereLinear(n_in, n_out))
                setattr(self, f'bn{k}', L.BatchNormalization(n_out))

    def forward(self, x):
        if self.has_images:
            x = x.reshape(-1, 1, *SHAPE)
        for k, pool_size in enumerate(self.pool_sizes, 1):
            x = self[f'l{k}'](x)
            if pool_size > 1:
                x = F.max_pooling_2d(x, pool_size, cover_all=False)
            x = self[f'bn{k}'](x)
            if k < len(self.pool_sizes):
                x, = Binarize(True).apply((x,))
        return x


def of_torch(args):
    """Returns the network in PyTorch, as its users write it."""
    import torch

    class BinarizeWeight(torch.autograd.Function):
        @staticmethod
        def forward(ctx, W):
            return torch.where(W >= 0, 1., -1.)

        @staticmethod
        def backward(ctx, gy):
            return gy

    class BinarizeActivation(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return torch.where(x >= 0, 1., -1.)

        @staticmethod
        def backward(ctx, gy):
            x, = ctx.saved_tensors
            return gy * (x.abs() <= 1)

    class QuantizedLinear(torch.nn.Linear):
        def forward(self, x):
            return torch.nn.functional.linear(
                x, BinarizeWeight.apply(self.weight), self.bias)

    class QuantizedConvolution(torch.nn.Conv2d):
        def forward(self, x):
            return torch.nn.functional.conv2d(
                x, BinarizeWeight.apply(self.weight), self.bias, padding=PAD)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            shapes, self.pool_sizes = weight_shapes(args)
            self.l = torch.nn.ModuleList(
                QuantizedConvolution(n_in, n_out, ksize[0]) if ksize
                else QuantizedLinear(n_in, n_out)
                for n_out, n_in, *ksize in shapes)
            self.bn = torch.nn.ModuleList(
                (torch.nn.BatchNorm2d if ksize else torch.nn.BatchNorm1d)(
                    n_out, eps=2e-5) for n_out, n_in, *ksize in shapes)

        def forward(self, x):
            if args.channels:
                x = x.reshape(-1, 1, *SHAPE)
            last = len(self.l) - 1
            for k, (layer, bn, pool_size) in enumerate(
                    zip(self.l, self.bn, self.pool_sizes)):
                if x.ndim > layer.weight.ndim:
                    x = x.flatten(1)
                x = layer(x)
                if pool_size > 1:
                    x = torch.nn.functional.max_pool2d(x, pool_size)
                x = bn(x)
                if k < last:
                    x = BinarizeActivation.apply(x)
            return x

    return Net()
