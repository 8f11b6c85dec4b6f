#!/usr/bin/env python
"""Seconds that an epoch of training takes, beside Chainer and PyTorch.

Every variant trains the same network on MNIST in a process of its own: an
epoch of updates on batches in random order, then the evaluation of the test
set. The processes take turns, one round after the other, so that a machine
that gets faster or slower does so for all of them. Before that, one step from
the same weights must give the same loss and gradients in each.
"""
import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import chainer_compat  # noqa: E402, F401  (before chainer)
import chainer  # noqa: E402
import chainer.functions as F  # noqa: E402
import chainer.links as L  # noqa: E402
import numpy  # noqa: E402

import kernels  # noqa: E402
from training import array_dataset  # noqa: E402

VARIANTS = {
    'project': 'this project',
    'project-numpy': 'this project without Numba',
    'chainer': 'Chainer, written straightforwardly',
    'torch': 'PyTorch, eager',
    'torch-compiled': 'PyTorch, compiled, fused Adam',
    'products': 'the matrix products alone',
}
# The project with other quantizers of weights and activations.
QUANTIZERS = ['stochastic', 'linear:2', 'linear:4', 'log:2', 'log:4', 'none']
DEFAULT_VARIANTS = list(VARIANTS)
VARIANTS.update({name: name for name in QUANTIZERS})
EVALUATION_BATCHSIZE = 1000
TOLERANCE = 1e-5


def initial_parameters(args):
    """Returns the parameters that every variant starts from, by name."""
    random = numpy.random.RandomState(0)
    sizes = [784] + [args.unit] * args.layers + [10]
    parameters = {}
    for k, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), 1):
        W = random.normal(0, n_in ** -.5, (n_out, n_in))
        parameters[f'l{k}/W'] = W.astype(numpy.float32)
        for name, value in (f'l{k}/b', 0), (f'bn{k}/gamma', 1), (
                f'bn{k}/beta', 0):
            parameters[name] = numpy.full(n_out, value, numpy.float32)
    return parameters


class ProjectVariant:
    """What train_mnist.py runs."""

    context = staticmethod(kernels.own_cores)
    quantizer = 'binary'

    def __init__(self, args, data):
        from chainer import training

        from training import array_iterator
        import quantizers
        from training.exact_evaluator import ExactEvaluator
        from optimizers.fused_adam import FusedAdam
        from net import MnistMLP
        from weight_clip import WeightClip
        quantizer = quantizers.parse(self.quantizer)
        self.model = L.Classifier(MnistMLP(
            784, args.unit, 10, n_hidden=args.layers,
            weight_quantizer=quantizer, activation_quantizer=quantizer))
        self.optimizer = FusedAdam().setup(self.model)
        self.optimizer.add_hook(WeightClip())
        train, test = data
        convert = array_iterator.send_arrays
        self.updater = training.updaters.StandardUpdater(
            array_iterator.ArrayIterator(train, args.batchsize),
            self.optimizer, converter=convert)
        self.evaluate = ExactEvaluator(
            array_iterator.ArrayIterator(
                test, EVALUATION_BATCHSIZE, repeat=False, shuffle=False),
            self.model, converter=convert)

    def set_parameters(self, parameters):
        for name, array in parameters.items():
            self._parameter(name).array[...] = array

    def _parameter(self, name):
        link, name = name.split('/')
        return getattr(self.model.predictor[link], name)

    def gradients(self, x, t, names):
        loss = self.model(x, t)
        self.model.cleargrads()
        loss.backward()
        return loss.array, {
            name: self._parameter(name).grad for name in names}

    def train(self, n_updates):
        for _ in range(n_updates):
            self.updater.update()


class ProjectNumpyVariant(ProjectVariant):
    """The same on the NumPy kernels."""

    @staticmethod
    @contextlib.contextmanager
    def context():
        with kernels.using_numpy(), kernels.own_cores():
            yield


class Where(chainer.FunctionNode):
    """Binarization as one writes it first."""

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


class ChainerVariant(ProjectVariant):
    """Chainer's links, optimizer, iterators and extensions, numpy.where."""

    context = contextlib.nullcontext

    def __init__(self, args, data):
        from chainer import iterators, training
        from chainer.training import extensions

        from weight_clip import WeightClip

        class QuantizedLinear(L.Linear):
            def forward(self, x):
                return F.linear(x, Where(False).apply((self.W,))[0], self.b)

        class Net(chainer.Chain):
            def __init__(self):
                super().__init__()
                sizes = [784] + [args.unit] * args.layers + [10]
                with self.init_scope():
                    for k, n_out in enumerate(sizes[1:], 1):
                        setattr(self, f'l{k}',
                                QuantizedLinear(sizes[k - 1], n_out))
                        setattr(self, f'bn{k}', L.BatchNormalization(n_out))

            def forward(self, x):
                for k in range(1, args.layers + 1):
                    x = self[f'bn{k}'](self[f'l{k}'](x))
                    x, = Where(True).apply((x,))
                k = args.layers + 1
                return self[f'bn{k}'](self[f'l{k}'](x))

        self.model = L.Classifier(Net())
        self.optimizer = chainer.optimizers.Adam().setup(self.model)
        self.optimizer.add_hook(WeightClip())
        train, test = data
        self.updater = training.updaters.StandardUpdater(
            iterators.SerialIterator(train, args.batchsize), self.optimizer)
        self.evaluate = extensions.Evaluator(
            iterators.SerialIterator(
                test, args.batchsize, repeat=False, shuffle=False),
            self.model)


class TorchVariant:
    """The same network in PyTorch, as its users write it."""

    compiled = False
    context = contextlib.nullcontext

    def __init__(self, args, data):
        import torch
        self.torch = torch
        self.args = args
        self.x, self.t = map(torch.from_numpy, data[0]._datasets)
        self.test_x, self.test_t = map(torch.from_numpy, data[1]._datasets)
        self.t, self.test_t = self.t.long(), self.test_t.long()
        self.order = torch.randperm(len(self.x))
        self.position = 0

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

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                sizes = [784] + [args.unit] * args.layers + [10]
                self.l = torch.nn.ModuleList(
                    QuantizedLinear(*pair) for pair in zip(sizes, sizes[1:]))
                self.bn = torch.nn.ModuleList(
                    torch.nn.BatchNorm1d(n_out, eps=2e-5)
                    for n_out in sizes[1:])

            def forward(self, x):
                for linear, bn in zip(self.l[:-1], self.bn[:-1]):
                    x = BinarizeActivation.apply(bn(linear(x)))
                return self.bn[-1](self.l[-1](x))

        self.model = Net()
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), **({'fused': True} if self.compiled
                                        else {}))
        self.net = torch.compile(self.model) if self.compiled else self.model
        self.clip = torch.compile(self._clip) if self.compiled else self._clip

    def _parameter(self, name):
        layer, name = name.split('/')
        kind, k = layer[:-1], int(layer[-1]) - 1
        return getattr(getattr(self.model, kind)[k],
                       'weight' if name in ('W', 'gamma') else 'bias')

    def set_parameters(self, parameters):
        with self.torch.no_grad():
            for name, array in parameters.items():
                self._parameter(name).copy_(self.torch.from_numpy(array))

    def _loss(self, x, t):
        return self.torch.nn.functional.cross_entropy(self.net(x), t)

    def gradients(self, x, t, names):
        loss = self._loss(self.torch.from_numpy(x),
                          self.torch.from_numpy(t).long())
        self.optimizer.zero_grad()
        loss.backward()
        return loss.detach().numpy(), {
            name: self._parameter(name).grad.numpy() for name in names}

    def _clip(self):
        for parameter in self.model.parameters():
            parameter.clamp_(-1, 1)

    def train(self, n_updates):
        self.net.train()
        loss_sum = correct = 0.
        for _ in range(n_updates):
            if self.position + self.args.batchsize > len(self.x):
                self.order = self.torch.randperm(len(self.x))
                self.position = 0
            index = self.order[
                self.position:self.position + self.args.batchsize]
            self.position += self.args.batchsize
            x, t = self.x[index], self.t[index]
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


class TorchCompiledVariant(TorchVariant):
    compiled = True


class ProductsVariant:
    """NumPy's matrix products of an update, into arrays that are there."""

    context = contextlib.nullcontext

    def __init__(self, args, data):
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

    def train(self, n_updates):
        for _ in range(n_updates):
            for k, W in enumerate(self.weights):
                numpy.dot(self.batch[k], W.T, out=self.y[k + 1])
            for k, W in reversed(list(enumerate(self.weights))):
                numpy.dot(self.batch[k + 1].T, self.batch[k], out=self.gW[k])
                if k > 0:  # the pixels need no gradient
                    numpy.dot(self.batch[k + 1], W, out=self.y[k])

    def evaluate(self):
        for _ in range(10000 // EVALUATION_BATCHSIZE):
            for k, W in enumerate(self.weights):
                numpy.dot(self.test[k], W.T, out=self.test_y[k + 1])


CLASSES = {
    'project': ProjectVariant, 'project-numpy': ProjectNumpyVariant,
    'chainer': ChainerVariant, 'torch': TorchVariant,
    'torch-compiled': TorchCompiledVariant, 'products': ProductsVariant,
    **{name: type('QuantizerVariant', (ProjectVariant,), {'quantizer': name})
       for name in QUANTIZERS}}


def blas_description():
    """Returns the BLAS library, its kernels and its threads."""
    try:
        import threadpoolctl
    except ImportError:
        return 'unknown (threadpoolctl is not installed)'
    return ', '.join(
        f'{info["internal_api"]} {info["version"]} '
        f'{info.get("architecture", "")}, {info["num_threads"]} threads'
        for info in threadpoolctl.threadpool_info())


def work(args):
    """The process of one variant: one line of JSON for each line it gets."""
    numpy.random.seed(0)
    data = array_dataset.get_mnist()
    variant = CLASSES[args.worker](args, data)
    updates_per_epoch = len(data[0]) / args.batchsize
    n_updates = max(1, round(args.share * updates_per_epoch))

    def epoch(_):
        start = time.perf_counter()
        variant.train(n_updates)
        trained = time.perf_counter()
        variant.evaluate()
        # The evaluation is always a whole one.
        return ((trained - start) * updates_per_epoch / n_updates
                + time.perf_counter() - trained)

    def step(path):
        parameters = initial_parameters(args)
        variant.set_parameters(parameters)
        x, t = (array[:args.batchsize] for array in data[0]._datasets)
        loss, gradients = variant.gradients(x, t, parameters)
        numpy.savez(path, loss=loss, **gradients)

    def warm_up(_):
        variant.train(20)
        variant.evaluate()
        return blas_description()

    def peak(_):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    commands = {'epoch': epoch, 'step': step, 'warm_up': warm_up,
                'peak': peak}
    with variant.context():
        for line in sys.stdin:
            command, argument = json.loads(line)
            print(json.dumps(commands[command](argument)), flush=True)


class Worker:
    """A process that runs one variant when it is told to."""

    def __init__(self, name, args):
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), '--worker', name,
             '--unit', str(args.unit), '--layers', str(args.layers),
             '--batchsize', str(args.batchsize), '--share', str(args.share)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, command, argument=None):
        print(json.dumps([command, argument]), file=self.process.stdin,
              flush=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f'{" ".join(self.process.args)} has failed')
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def check(workers):
    """Ends the program unless all binary variants compute the same step."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, worker in workers.items():
            if name not in ('products', *QUANTIZERS):
                path = os.path.join(folder, f'{name}.npz')
                worker('step', path)
                with numpy.load(path) as f:
                    results[name] = dict(f)
    reference = next(iter(results))
    for name, result in results.items():
        for key, array in result.items():
            difference = abs(array - results[reference][key]).max()
            if not difference <= TOLERANCE:
                sys.exit(f'{key} of {name} differs from that of {reference} '
                         f'by {difference:.2g}')
    return results


def measure(args):
    """Returns the seconds per epoch and round, and more, of each variant."""
    if args.unit > 1000 or args.layers > 2:
        smaller = argparse.Namespace(**{
            **vars(args), 'unit': min(args.unit, 1000),
            'layers': min(args.layers, 2)})
        workers = {name: Worker(name, smaller) for name in args.variants}
        check(workers)
        for worker in workers.values():
            worker.close()
    workers = {name: Worker(name, args) for name in args.variants}
    if args.unit <= 1000 and args.layers <= 2:
        check(workers)
    blas = {name: worker('warm_up') for name, worker in workers.items()}
    seconds = {name: [] for name in workers}
    for _ in range(args.rounds):
        for name, worker in workers.items():
            seconds[name].append(worker('epoch'))
    peak = {name: worker('peak') for name, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    return {'seconds': seconds, 'blas': blas, 'peak': peak}


def cpu_name():
    try:
        with open('/proc/cpuinfo') as f:
            for line in f:
                if line.startswith('model name'):
                    return line.split(':')[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def print_table(args, result):
    print(f'{args.layers} x {args.unit} units, batch {args.batchsize}, '
          f'{args.rounds} rounds'
          + ('' if args.share == 1 else f' of {args.share:g} epochs each'))
    print(f'CPU: {cpu_name()}, {os.cpu_count()} cores; '
          f'Python {platform.python_version()}, NumPy {numpy.__version__}, '
          f'kernels: {kernels.description()}')
    for name, blas in result['blas'].items():
        if name in ('project', 'torch'):
            print(f'BLAS and threads of {VARIANTS[name]}: {blas}')
    print()
    medians = {name: statistics.median(seconds)
               for name, seconds in result['seconds'].items()}
    ours = medians.get('project')
    print(f'{"":36} {"s/epoch":>8} {"min":>7} {"max":>7} '
          f'{"project/it":>10} {"peak MB":>8}')
    for name, seconds in result['seconds'].items():
        # The ratio round by round, so that a slow round counts for both.
        ratio = (statistics.median(
            a / b for a, b in zip(result['seconds']['project'], seconds))
            if ours else float('nan'))
        print(f'{VARIANTS[name]:36} {medians[name]:8.2f} {min(seconds):7.2f} '
              f'{max(seconds):7.2f} {ratio:10.2f} '
              f'{result["peak"][name]:8.0f}')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('--unit', type=int, default=1000)
    parser.add_argument('--layers', type=int, default=2,
                        help='number of hidden layers')
    parser.add_argument('--batchsize', type=int, default=100)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--share', type=float, default=1.,
                        help='share of the epoch to train in a round, for '
                             'networks that take long')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS,
                        default=DEFAULT_VARIANTS, metavar='NAME',
                        help='some of ' + ', '.join(VARIANTS))
    parser.add_argument('--save', metavar='FILE',
                        help='write the medians as JSON, for the README')
    parser.add_argument('--worker', help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main():
    args = parse_args()
    if args.worker:
        work(args)
        return
    result = measure(args)
    print_table(args, result)
    if args.save:
        with open(args.save, 'w') as f:
            json.dump({VARIANTS[name]: round(statistics.median(seconds), 3)
                       for name, seconds in result['seconds'].items()}, f,
                      indent=4)
            f.write('\n')


if __name__ == '__main__':
    main()
