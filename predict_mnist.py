#!/usr/bin/env python
"""Classifies digits with a trained net packed into bits."""
import os
import sys

if __name__ == '__main__':
    # Python's options -P and -I leave out the program's own folder.
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from system import interruption
    # From here on: nothing that a file holds is ever half of it.
    interruption.quit_on_signal('interrupted')

import contextlib
import statistics
import time

import numpy

import kernels
from data import mnist, picture, reading, sets
from export import canonical, formats
from layers import summary
from prediction import model_file, pictures
from system import command_line, files, snapshot_file
from system.command_line import integer
from system.errors import InputError
from system.npz_reader import NpzReader

# Runs whose median is the speed, and seconds after which no more is begun.
_RUNS, _SECONDS = 5, 2


def parse_args(argv=None):
    parser = command_line.ArgumentParser(
        'predict_mnist.py', description=__doc__)
    parser.add_argument('model', metavar='MODEL',
                        help='snapshot of train_mnist.py, or a file that '
                             '--export has written')
    parser.add_argument('--export', metavar='FILE',
                        help='write the net to a file: packed, .npz, or '
                             f'{formats.HELP}')
    parser.add_argument('--qonnx-dialect', choices=formats.QONNX_DIALECTS,
                        help='whose QONNX --export writes: '
                             f'{formats.QONNX_DIALECTS[0]}, the default, is '
                             'that of qonnx itself')
    parser.add_argument('--image', nargs='+', metavar='FILE', default=[],
                        help='classify these pictures, and those in these '
                             'folders, rather than the test images')
    parser.add_argument('--format', choices=pictures.FORMATS, default='text',
                        help='what --image prints: lines to read, or the '
                             'probabilities of all classes')
    parser.add_argument('--report', metavar='DIR',
                        help='draw the confusion matrix, the mistakes and the '
                             'weights of the first layer into a folder')
    parser.add_argument('--summary', action='store_true',
                        help='print a table of the layers and stop')
    parser.add_argument('--gpu', '-g', type=integer(-1), default=-1,
                        metavar='ID',
                        help='id of the GPU; -1, the default, is the CPU')
    reading.add_flags(parser)
    args = parser.parse_args(argv)
    if args.summary and (args.export or args.image or args.report):
        parser.error('--summary stops before --export, --image and --report')
    if args.qonnx_dialect and not args.export:
        parser.error('--qonnx-dialect is for --export')
    if args.format != 'text' and (
            args.export or args.report or not args.image):
        parser.error(f'--format {args.format} is for what --image prints, '
                     'without --export and --report')
    return parser, args


def get_module(gpu):
    """Returns numpy, or cupy on a GPU; InputError says why there is none."""
    if gpu == -1:
        return numpy
    command_line.check_gpu(gpu)
    import cupy
    cupy.cuda.Device(gpu).use()
    return cupy


def read_data(args, model, say):
    """Returns the data set of the arguments.

    What the flags do not say of how it is read is as the model's was.
    """
    data = sets.read(args.data, reading.from_args(args), model.images,
                     lambda line: say(f'# data: {line}'))
    names = data.description.classes
    if (args.data and model.training_set not in (None, data.checksum)
            and names != model.images.classes and (
                len(names) == len(model.images.classes))):
        raise InputError(
            f'the classes of {args.data} are not those that {args.model} '
            'was trained on: {}, not {}'.format(*(next(
                pair for pair in zip(names, model.images.classes)
                if pair[0] != pair[1]))))
    return data


def images_per_second(predict, x):
    """Returns the speed, a median, after a first run that has compiled."""
    times = []
    while len(times) < _RUNS and sum(times) < _SECONDS:
        start = time.perf_counter()
        predict(x)
        times.append(time.perf_counter() - start)
    return len(x) / statistics.median(times)


def print_pictures(args, model, net, xp, fail, warn):
    """Prints the classes of pictures; tells whether all could be read."""
    def probabilities(pixels):
        return to_numpy(net.probabilities(xp.asarray(pixels)))

    paths, n_bad = pictures.find(args.image, fail)
    write = pictures.writer(args.format, paths, model.images.classes)
    n_bad += pictures.classify(
        paths, model.images, probabilities, write, fail, warn)
    write.end()
    return not n_bad


def print_accuracy(name, predicted, labels):
    n = len(labels)
    wrong = int((predicted != labels).sum())
    print(f'{name}: {100 * (n - wrong) / n:.2f} % of {n:,} test images right, '
          f'{wrong} wrong')


def to_numpy(array):
    return array if isinstance(array, numpy.ndarray) else array.get()


def export(net, path, write, data, name):
    """Writes the net, but never over a snapshot."""
    if os.path.isfile(path):
        try:
            with NpzReader(path) as npz:
                is_snapshot = snapshot_file.holds_net(npz)
        except InputError:
            is_snapshot = False
        if is_snapshot:
            raise InputError(f'{path} is a snapshot, which --export does not '
                             'replace; choose another file')
    if write is None:
        net.save(path)
    else:
        accuracy = None
        if data and net.training_set == data.checksum:
            x, labels = data.test
            accuracy = canonical.Accuracy(
                int((net.predict(x) == labels).sum()), len(x),
                os.path.basename(os.path.abspath(name)))
        content = write(canonical.fold(net, accuracy))
        files.write(path, lambda f: f.write(content))
    print(f'exported: {path}, {os.path.getsize(path):,} bytes')


def print_model(model, xp):
    packed = model.packed
    kind = 'packed file' if model.is_export else 'snapshot'
    sizes = '-'.join(map(str, (packed or model.chainer).sizes))
    if not packed:
        print(f'{kind}: {sizes}')
        return
    print(f'{kind}: {sizes}, computed by {kernels.description(xp)}')
    print(f'parameters: {packed.nbytes:,} bytes, float32: '
          f'{packed.float32_nbytes:,} '
          f'({packed.float32_nbytes / packed.nbytes:.1f} times as many)')


def evaluate(packed, chainer_net, xp, report, images, x, labels):
    x_there = xp.asarray(x)

    def predict_packed(x):
        return to_numpy(packed.predict(x))

    if packed:
        predicted = predict_packed(x_there)
        print_accuracy('packed net', predicted, labels)
    if chainer_net:
        expected = chainer_net.predict(x)
        print_accuracy('Chainer net', expected, labels)
    if packed and chainer_net:
        different = int((expected != predicted).sum())
        print(f'predictions that differ: {different}')
    if packed:
        speed = images_per_second(predict_packed, x_there)
        print(f'packed net: {speed:,.0f} images/s')
    if chainer_net:
        chainer_speed = images_per_second(chainer_net.predict, x)
        text = f'Chainer net: {chainer_speed:,.0f} images/s on the CPU'
        if packed:
            text += (', the packed one is '
                     f'{speed / chainer_speed:.1f} times as fast')
        print(text)
    if report:
        # Matplotlib takes a second to import, so only where it is wanted.
        from prediction import report as prediction_report
        net = packed or chainer_net
        for path in prediction_report.draw(
                report, images, x, labels,
                to_numpy(net.probabilities(x_there if packed else x)),
                net.weights(1)):
            print(f'drawn: {path}')


def needs_test_images(args, model, net):
    """Tells whether a data set's test images are needed, or asked for."""
    if (args.data or args.report
            or reading.from_args(args) != reading.DEFAULT):
        return True
    if args.export:
        # Those of MNIST are always there, to say how accurate a net is.
        return ((net.sizes[0], net.sizes[-1]) == sets.read().sizes
                and model.training_set in (None, mnist.CHECKSUM))
    return not args.image


def check_data(args, model, net, say, warn):
    """Returns the data set, if it is one that the net can be tried on."""
    data = read_data(args, model, say)
    name = args.data or 'MNIST'
    if (net.sizes[0], net.sizes[-1]) != data.sizes:
        raise InputError(
            f'{args.model} makes {net.sizes[-1]} classes of {net.sizes[0]} '
            f'values, not the {data.sizes[1]} of the {data.sizes[0]} pixels '
            f'of {name}')
    if net.image_shape not in (None, data.shape):
        raise InputError(
            '{} takes images of {} x {} pixels, not the {} x {} of {}'.format(
                args.model, *net.image_shape, *data.shape, name))
    if model.training_set not in (None, data.checksum):
        warn(f'{args.model} was trained on another data set than {name}: '
             f'the checksum of its training set is {model.training_set}, not '
             f'{data.checksum}')
    return data


def run(args, fail, warn):
    """Runs the program; tells whether all pictures could be read."""
    xp = get_module(args.gpu)
    if args.export:
        write = formats.writer(args.export, args.qonnx_dialect)
    if args.image:
        picture.check_pillow()
    if args.report:
        command_line.check_matplotlib('--report')
        command_line.make_folder(args.report, '--report')
    say = print if args.format == 'text' else warn
    model = model_file.read(args.model, say)
    packed, net = model.packed, model.packed or model.chainer
    if args.summary:
        print(summary.table(net.sizes, 1, 1, net.image_shape, net.pool_sizes)
              if packed else net.summary())
        return True
    data = None
    if needs_test_images(args, model, net):
        data = check_data(args, model, net, say, warn)
    if args.export:
        if not packed:
            raise InputError(f'{args.model} cannot be packed')
        export(packed, args.export, write, data, args.data or 'MNIST')
        if data is None and not args.image:
            print(f'{args.model} was not tried: --data names its data set')
            return True
    if packed:
        packed.to(xp)
    elif args.gpu != -1:
        warn(f'{args.model} is not packed: it is computed on the CPU')
    all_read = True
    if args.image:
        with (contextlib.nullcontext() if packed
              else net.running_statistics()):
            all_read = print_pictures(
                args, model, net, xp if packed else numpy, fail, warn)
        if not args.report:
            return all_read
    print_model(model, xp)
    evaluate(packed, model.chainer, xp, args.report, model.images,
             *data.test)
    return all_read


def main(argv=None):
    """Runs the program.

    Args:
        argv (list of str): The arguments, by default those of the command
            line.

    Raises:
        SystemExit: With status 2 where an argument or a file cannot be used;
            of a picture among others, after these.

    """
    parser, args = parse_args(argv)
    with command_line.running(parser):
        all_read = run(args, parser.say_error, parser.warn)
    if not all_read:
        sys.exit(2)


if __name__ == '__main__':
    main()
