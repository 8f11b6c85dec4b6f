"""What train_speed.py compares: the training of one network, in many ways.

A variant is a class. It is made with the shape of the network, ``args.unit``,
``args.layers``, ``args.channels``, ``args.blocks`` and ``args.batchsize``, and
with the training and test set. It has

* ``title``, its name in the table;
* ``train(n_updates)`` and ``evaluate()``, which are timed;
* ``context()``, inside which they run; what it gives is kept as ``cores``;
* ``has_convolutions``: whether it takes ``args.channels`` other than 0;
* ``is_checked``: whether it trains the binary network, as the others do. If
  so, ``set_parameters()`` and ``gradients()`` are there for the comparison.
"""
import contextlib

import chainer_compat
import chainer
import chainer.links as L
from chainer.iterators import SerialIterator
from chainer.training.extensions import Evaluator
from chainer.training.updaters import StandardUpdater
import numpy

import kernels
import quantizers
from benchmarks import nets
from optimizers.fused_adam import FusedAdam
from training.array_iterator import ArrayIterator, send_arrays
from training.exact_evaluator import ExactEvaluator
from weight_clip import WeightClip

EVALUATION_BATCHSIZE = 1000


def arrays(dataset):
    """Returns the images and the labels of a data set."""
    return dataset.arrays


class Project:
    """Training as train_mnist.py does it."""

    title = 'this project'
    is_checked = has_convolutions = True
    context = staticmethod(kernels.own_cores)
    cores = None
    quantizer = 'binary'

    def __init__(self, args, train, test):
        quantizer = quantizers.parse(self.quantizer)
        self.model = L.Classifier(nets.of_project(args, quantizer))
        optimizer = FusedAdam().setup(self.model)
        optimizer.add_hook(WeightClip())
        self.updater = StandardUpdater(
            ArrayIterator(train, args.batchsize), optimizer,
            converter=send_arrays)
        self.evaluate = ExactEvaluator(
            ArrayIterator(test, EVALUATION_BATCHSIZE, repeat=False,
                          shuffle=False),
            self.model, converter=send_arrays)

    def _parameter(self, name):
        link, name = name.split('/')
        return getattr(self.model.predictor[link], name)

    def set_parameters(self, parameters):
        for name, array in parameters.items():
            self._parameter(name).array[...] = array

    def gradients(self, x, t, names):
        """Returns the loss of a batch and the gradients of parameters."""
        loss = self.model(x, t)
        self.model.cleargrads()
        loss.backward()
        return loss.array, {
            name: self._parameter(name).grad for name in names}

    def train(self, n_updates):
        for _ in range(n_updates):
            self.updater.update()
            if self.cores:
                self.cores.adapt()


class ProjectNumpy(Project):
    """Training on the project's NumPy kernels."""

    title = 'this project without Numba'

    @staticmethod
    @contextlib.contextmanager
    def context():
        with kernels.using_numpy(), kernels.own_cores() as cores:
            yield cores


def with_quantizer(name):
    """Returns the project's variant with another quantizer everywhere."""
    class Quantized(Project):
        title = quantizer = name
        is_checked = False

    return Quantized


class Chainer(Project):
    """Training with Chainer's links, optimizer, iterators and extensions."""

    title = 'Chainer, written straightforwardly'
    context = contextlib.nullcontext

    def __init__(self, args, train, test):
        self.model = L.Classifier(nets.Where(args))
        optimizer = chainer.optimizers.Adam().setup(self.model)
        optimizer.add_hook(WeightClip())
        self.updater = StandardUpdater(
            SerialIterator(train, args.batchsize), optimizer)
        self.evaluate = Evaluator(
            SerialIterator(test, args.batchsize, repeat=False, shuffle=False),
            self.model)


class Torch:
    """Training in PyTorch, operation by operation."""

    title = 'PyTorch, eager'
    is_checked = has_convolutions = True
    context = contextlib.nullcontext
    compiled = False

    def __init__(self, args, train, test):
        import torch
        self.torch = torch
        self.batchsize = args.batchsize
        self.x, self.t = map(torch.from_numpy, arrays(train))
        self.test_x, self.test_t = map(torch.from_numpy, arrays(test))
        self.t, self.test_t = self.t.long(), self.test_t.long()
        self.order = torch.randperm(len(self.x))
        self.position = 0
        self.model = self.net = nets.of_torch(args)
        self.clip = self._clip
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), **({'fused': True} if self.compiled
                                        else {}))
        if self.compiled:
            self.net, self.clip = map(torch.compile, (self.net, self.clip))

    def _parameter(self, name):
        layer, name = name.split('/')
        kind, k = layer[:-1], int(layer[-1]) - 1
        return getattr(getattr(self.model, kind)[k],
                       'weight' if name in ('W', 'gamma') else 'bias')

    def set_parameters(self, parameters):
        with self.torch.no_grad():
            for name, array in parameters.items():
                self._parameter(name).copy_(self.torch.from_numpy(array))

    def gradients(self, x, t, names):
        """Returns the loss of a batch and the gradients of parameters."""
        loss = self.torch.nn.functional.cross_entropy(
            self.net(self.torch.from_numpy(x)),
            self.torch.from_numpy(t).long())
        self.optimizer.zero_grad()
        loss.backward()
        return loss.detach().numpy(), {
            name: self._parameter(name).grad.numpy() for name in names}

    def _clip(self):
        for parameter in self.model.parameters():
            parameter.clamp_(-1, 1)

    def _next_batch(self):
        if self.position + self.batchsize > len(self.x):
            self.order = self.torch.randperm(len(self.x))
            self.position = 0
        index = self.order[self.position:self.position + self.batchsize]
        self.position += self.batchsize
        return self.x[index], self.t[index]

    def train(self, n_updates):
        self.net.train()
        loss_sum = correct = 0.
        for _ in range(n_updates):
            x, t = self._next_batch()
            y = self.net(x)
            loss = self.torch.nn.functional.cross_entropy(y, t)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            with self.torch.no_grad():
                self.clip()
                # What Chainer's Classifier reports as well.
                correct += (y.argmax(1) == t).float().mean().item()
                loss_sum += loss.item()

    def evaluate(self):
        self.net.eval()
        with self.torch.no_grad():
            for start in range(0, len(self.test_x), EVALUATION_BATCHSIZE):
                x = self.test_x[start:start + EVALUATION_BATCHSIZE]
                t = self.test_t[start:start + EVALUATION_BATCHSIZE]
                y = self.net(x)
                self.torch.nn.functional.cross_entropy(y, t).item()
                (y.argmax(1) == t).float().mean().item()


class TorchCompiled(Torch):
    """Training in PyTorch, compiled, with its fused Adam."""

    title = 'PyTorch, compiled, fused Adam'
    compiled = True


class Products:
    """NumPy's matrix products of an update, into arrays that are there."""

    title = 'the matrix products alone'
    is_checked = has_convolutions = False
    context = contextlib.nullcontext

    def __init__(self, args, train, test):
        random = numpy.random.RandomState(0)
        sizes = [784] + [args.unit] * args.layers + [10]

        def normal(*shape):
            return random.standard_normal(shape).astype(numpy.float32)

        self.weights = [normal(n_out, n_in)
                        for n_in, n_out in zip(sizes, sizes[1:])]
        self.batch = [normal(args.batchsize, n) for n in sizes]
        self.y = [normal(args.batchsize, n) for n in sizes]
        self.gW = [numpy.empty_like(W) for W in self.weights]
        self.test = [normal(EVALUATION_BATCHSIZE, n) for n in sizes]
        self.test_y = [normal(EVALUATION_BATCHSIZE, n) for n in sizes]
        self.n_test_batches = len(test) // EVALUATION_BATCHSIZE

    def train(self, n_updates):
        for _ in range(n_updates):
            for k, W in enumerate(self.weights):
                numpy.dot(self.batch[k], W.T, out=self.y[k + 1])
            for k, W in reversed(list(enumerate(self.weights))):
                numpy.dot(self.batch[k + 1].T, self.batch[k], out=self.gW[k])
                if k > 0:  # the pixels need no gradient
                    numpy.dot(self.batch[k + 1], W, out=self.y[k])

    def evaluate(self):
        for _ in range(self.n_test_batches):
            for k, W in enumerate(self.weights):
                numpy.dot(self.test[k], W.T, out=self.test_y[k + 1])


DEFAULT = {
    'project': Project, 'project-numpy': ProjectNumpy, 'chainer': Chainer,
    'torch': Torch, 'torch-compiled': TorchCompiled, 'products': Products}
VARIANTS = DEFAULT | {
    name: with_quantizer(name)
    for name in ('stochastic', 'linear:2', 'linear:4', 'log:2', 'log:4',
                 'none')}
