#!/usr/bin/env python
"""Classifies digits with a trained net packed into bits."""
import os
import statistics
import sys
import time

import numpy

import digit_image
import kernels
import mnist_files
import packed_net
import summary
from command_line import (
    ArgumentParser, check_gpu, check_matplotlib, integer, make_folder,
    print_any_name)
from npz_reader import NpzReader
from packed_net import PackedMLP

# Runs whose median is the speed, and seconds after which no more is begun.
_RUNS, _SECONDS = 5, 2


def parse_args(argv=None):
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('model', metavar='MODEL',
                        help='snapshot of train_mnist.py, or a file that '
                             '--export has written')
    parser.add_argument('--export', metavar='FILE',
                        help='write the packed net to a file')
    parser.add_argument('--image', nargs='+', metavar='FILE', default=[],
                        help='classify these pictures of digits rather than '
                             'the test images')
    parser.add_argument('--report', metavar='DIR',
                        help='draw the confusion matrix, the mistakes and the '
                             'weights of the first layer into a folder')
    parser.add_argument('--summary', action='store_true',
                        help='print a table of the layers and stop')
    parser.add_argument('--gpu', '-g', type=integer(-1), default=-1,
                        metavar='ID',
                        help='id of the GPU; -1, the default, is the CPU')
    args = parser.parse_args(argv)
    if args.summary and (args.export or args.image or args.report):
        parser.error('--summary stops before --export, --image and --report')
    return parser, args


def get_module(gpu):
    """Returns numpy, or cupy on a GPU; ValueError says why there is none."""
    if gpu == -1:
        return numpy
    check_gpu(gpu)
    import cupy
    cupy.cuda.Device(gpu).use()
    return cupy


def read_model(path):
    """Returns the packed net and, from a snapshot, its arrays by name."""
    with NpzReader(path) as npz:
        if packed_net.is_snapshot(npz):
            arrays = packed_net.read_snapshot(npz)
            try:
                return PackedMLP.from_arrays(arrays), arrays
            except ValueError as e:
                raise ValueError(f'{path} cannot be packed: {e}') from e
        if not packed_net.is_export(npz):
            raise ValueError(f'{path} is neither a snapshot of train_mnist.py '
                             'nor a file of --export')
    return PackedMLP.load(path), None


def make_chainer_net(sizes, arrays):
    """Returns the function of Chainer's net, or None for other networks.

    Chainer is imported here and nowhere else: it is needed for nothing but
    the comparison.
    """
    try:
        import chainer_compat  # noqa: F401  (makes Chainer importable)
        import chainer

        from net import MnistMLP
    except ImportError as e:
        print(f'Chainer net: not compared, {e}')
        return None

    n_in, *hidden, n_out = sizes
    if len(set(hidden)) != 1:
        return None
    net = MnistMLP(n_in, hidden[0], n_out, n_hidden=len(hidden))
    chainer.serializers.NpzDeserializer(arrays, strict=False).load(net)

    def predict(x):
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            # In batches whose arrays stay in the cache, as in training, and
            # with the pixels scaled as chainer.datasets.get_mnist does.
            return numpy.concatenate([
                net(x[i:i + 1000].astype(numpy.float32) * numpy.float32(
                    1 / 255)).array.argmax(axis=1)
                for i in range(0, len(x), 1000)])

    return predict


def images_per_second(predict, x):
    """Returns the speed, a median, after a first run that has compiled."""
    times = []
    while len(times) < _RUNS and sum(times) < _SECONDS:
        start = time.perf_counter()
        predict(x)
        times.append(time.perf_counter() - start)
    return len(x) / statistics.median(times)


def print_pictures(net, paths, pixels, xp):
    probabilities = to_numpy(net.probabilities(xp.asarray(pixels)))
    width = max(map(len, paths))
    for path, p in zip(paths, probabilities):
        first, second = numpy.argsort(-p, kind='stable')[:2]
        print(f'{path:{width}}  {first}  {100 * p[first]:5.1f} %   '
              f'(then {second}, {100 * p[second]:.1f} %)')


def print_accuracy(name, predicted, labels):
    n = len(labels)
    wrong = int((predicted != labels).sum())
    print(f'{name}: {100 * (n - wrong) / n:.2f} % of {n:,} test images right, '
          f'{wrong} wrong')


def to_numpy(array):
    return array if isinstance(array, numpy.ndarray) else array.get()


def export(net, path):
    net.save(path)
    print(f'exported: {path}, {os.path.getsize(path):,} bytes')


def evaluate(net, arrays, xp, report):
    x, labels = mnist_files.read('test.npz')
    x_there = xp.asarray(x)

    def predict(x):
        return to_numpy(net.predict(x))

    predicted = predict(x_there)
    print_accuracy('packed net', predicted, labels)
    chainer_predict = arrays and make_chainer_net(net.sizes, arrays)
    if chainer_predict:
        expected = chainer_predict(x)
        print_accuracy('Chainer net', expected, labels)
        different = int((expected != predicted).sum())
        print(f'predictions that differ: {different}')
    speed = images_per_second(predict, x_there)
    print(f'packed net: {speed:,.0f} images/s')
    if chainer_predict:
        chainer_speed = images_per_second(chainer_predict, x)
        print(f'Chainer net: {chainer_speed:,.0f} images/s on the CPU, the '
              f'packed one is {speed / chainer_speed:.1f} times as fast')
    if report:
        # Matplotlib takes a second to import, so only where it is wanted.
        import prediction_report
        for path in prediction_report.draw(
                report, x, labels, to_numpy(net.probabilities(x_there)),
                net.weights(1)):
            print(f'drawn: {path}')


def run(args):
    xp = get_module(args.gpu)
    pixels = [digit_image.read(path) for path in args.image]
    if args.report:
        check_matplotlib('--report')
        make_folder(args.report, '--report')
    net, arrays = read_model(args.model)
    if args.summary:
        print(summary.table(net.sizes))
        return
    if (net.sizes[0], net.sizes[-1]) != (784, 10):
        raise ValueError(
            f'{args.model} makes {net.sizes[-1]} classes of {net.sizes[0]} '
            'values, not the 10 of the 784 pixels of MNIST')
    if args.export:
        export(net, args.export)
    net.to(xp)
    if args.image:
        print_pictures(net, args.image, numpy.stack(pixels), xp)
        if not args.report:
            return
    kind = 'packed file' if arrays is None else 'snapshot'
    print(f'{kind}: {"-".join(map(str, net.sizes))}, '
          f'computed by {kernels.description(xp)}')
    print(f'parameters: {net.nbytes:,} bytes, float32: '
          f'{net.float32_nbytes:,} ({net.float32_nbytes / net.nbytes:.1f} '
          'times as many)')
    evaluate(net, arrays, xp, args.report)


def main():
    print_any_name()
    parser, args = parse_args()
    try:
        run(args)
    except ValueError as e:
        parser.error(e)
    except OSError as e:
        parser.error(f'cannot write {e.filename or "the output"}: '
                     f'{e.strerror or e}')
    except MemoryError:
        parser.error('there is not enough memory')
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == '__main__':
    main()
