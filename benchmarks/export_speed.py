#!/usr/bin/env python
"""Measures the formats of --export: exactness, size, time of one image.

Every format computes MNIST's test images, one after the other on one core;
its classes and logits are compared with those of the packed net, whose time
is that of PackedNet. Times are medians of some rounds over all images. What
a format needs (gcc, onnxruntime, node) may be missing: then there is no row.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

if __name__ == '__main__':
    sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

import numpy

from benchmarks import machine
from benchmarks.arguments import output_file
from data import mnist
from export import c_source, canonical, html_page, onnx_model, qonnx_model
from prediction.packed_net import PackedNet
from system.command_line import ArgumentParser, integer
from system.errors import InputError

_CFLAGS = '-std=c99', '-O3', '-march=native', '-DQUANTIZED_NET_MAIN'


def one_by_one(predict, images, rounds):
    """Returns the seconds of rounds of calls with one image each."""
    for image in images[:100]:
        predict(image[None])
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for i in range(len(images)):
            predict(images[i:i + 1])
        times.append(time.perf_counter() - start)
    return times


def packed(net, images, rounds, folder):
    """The packed file, computed by PackedNet."""
    path = os.path.join(folder, 'net.npz')
    net.save(path)
    loaded = PackedNet.load(path)
    logits = loaded.logits(images)
    return (os.path.getsize(path), logits.argmax(axis=1), logits,
            one_by_one(loaded.predict, images, rounds))


def c(net, images, rounds, folder):
    """The C file, compiled by gcc; it gives classes alone."""
    if not shutil.which('gcc'):
        raise ImportError('there is no gcc')
    source = c_source.write(canonical.fold(net))
    path = os.path.join(folder, 'net.c')
    pathlib.Path(path).write_bytes(source)
    program = os.path.join(folder, 'net')
    subprocess.run(['gcc', *_CFLAGS, path, '-o', program], check=True)

    def seconds(x):
        start = time.perf_counter()
        output = subprocess.run([program], input=x.tobytes(), check=True,
                                capture_output=True).stdout
        return time.perf_counter() - start, output

    times = []
    for _ in range(rounds):
        # Less the time of the start, and of one image.
        all_images, output = seconds(images)
        times.append((all_images - seconds(images[:1])[0])
                     * len(images) / (len(images) - 1))
    return len(source), numpy.array(output.split(), int), None, times


def onnx(net, images, rounds, folder):
    """The ONNX file, computed by onnxruntime."""
    import onnxruntime
    content = onnx_model.write(canonical.fold(net))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        content, options, providers=['CPUExecutionProvider'])
    classes, logits, _ = session.run(None, {'pixels': images})
    times = one_by_one(
        lambda x: session.run(['class'], {'pixels': x}), images, rounds)
    return len(content), classes, logits, times


def qonnx(net, images, rounds, folder):
    """The QONNX file, computed by the executor of qonnx, at once."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.change_batchsize import ChangeBatchSize
    from qonnx.transformation.infer_shapes import InferShapes
    path = os.path.join(folder, 'net.qonnx.onnx')
    content = qonnx_model.write(canonical.fold(net))
    pathlib.Path(path).write_bytes(content)
    model = ModelWrapper(path).transform(ChangeBatchSize(len(images)))
    model = model.transform(InferShapes())
    results = execute_onnx(model, {'pixels': images.astype(numpy.float32)})
    logits = results['logits']
    return len(content), logits.argmax(axis=1), logits, None


def html(net, images, rounds, folder):
    """The page, its program run by Node."""
    if not shutil.which('node'):
        raise ImportError('there is no node')
    content = html_page.write(canonical.fold(net))
    page, pixels, output = (os.path.join(folder, name)
                            for name in ('net.html', 'pixels', 'logits'))
    pathlib.Path(page).write_bytes(content)
    images.tofile(pixels)
    process = subprocess.run(
        ['node', pathlib.Path(__file__).with_name('page_speed.js'), page,
         pixels, output, str(rounds)], check=True, capture_output=True)
    logits = numpy.fromfile(output, '<f4').reshape(len(images), -1)
    return (len(content), logits.argmax(axis=1), logits,
            json.loads(process.stdout))


FORMATS = {'.npz': packed, '.c': c, '.onnx': onnx, '.qonnx.onnx': qonnx,
           '.html': html}


def measure(net, images, rounds):
    """Returns what the formats give.

    Args:
        net (PackedNet): The net.
        images (numpy.ndarray): uint8 pixels of shape (N, inputs).
        rounds (int): Number of rounds.

    Returns:
        dict: By ending: ``size`` in bytes; ``classes`` and ``logits`` that
        differ, of ``n`` images, ``None`` where a format has none; ``seconds``
        of one image, ``None`` where it was not measured.

    """
    expected = net.logits(images)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for ending, run in FORMATS.items():
            try:
                size, classes, logits, times = run(
                    net, images, rounds, folder)
            except (ImportError, InputError) as e:
                print(f'{ending}: not measured, {e}', file=sys.stderr)
                continue
            results[ending] = {
                'size': size,
                'n': len(images),
                'classes': int((classes != expected.argmax(axis=1)).sum()),
                'logits': None if logits is None
                else int((logits != expected).sum()),
                'seconds': None if times is None
                else statistics.median(times) / len(images)}
    return results


def main():
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('models', nargs='+', metavar='FILE',
                        help='packed nets that take images of MNIST')
    parser.add_argument('--rounds', type=integer(1), default=5)
    parser.add_argument('--images', type=integer(2), default=10000,
                        help=argparse.SUPPRESS)
    parser.add_argument('--save', type=output_file, metavar='FILE',
                        help='write the figures to a file, as JSON')
    args = parser.parse_args()
    images = mnist.read('test.npz')[0][:args.images]
    nets = []
    for path in args.models:
        try:
            nets.append(PackedNet.load(path))
        except InputError as e:
            parser.error(e)
        if nets[-1].sizes[0] != images.shape[1]:
            parser.error(f'{path} takes {nets[-1].sizes[0]} pixels')
    print(f'{machine.description()}; one core\n')
    figures = {}
    for net in nets:
        name = '-'.join(map(str, net.sizes))
        figures[name] = measure(net, images, args.rounds)
        print(f'{name:16} {"bytes":>10} {"classes":>8} {"logits":>8} '
              f'{"us an image":>12}')
        for ending, row in figures[name].items():
            logits = '' if row['logits'] is None else row['logits']
            microseconds = ('' if row['seconds'] is None
                            else f'{1e6 * row["seconds"]:.1f}')
            print(f'{ending:16} {row["size"]:>10,} {row["classes"]:>8} '
                  f'{logits:>8} {microseconds:>12}')
        print()
    if args.save:
        pathlib.Path(args.save).write_text(
            json.dumps(figures, indent=4) + '\n', encoding='utf-8')


if __name__ == '__main__':
    if hasattr(os, 'sched_setaffinity'):  # Before anything makes threads.
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    main()
