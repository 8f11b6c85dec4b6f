#!/usr/bin/env python
"""Measures how fast a packed net is, beside the same net in float32.

Every contender runs in a process of its own, so that no library's threads
are in another's way, and they take turns: a busy machine is busy for all of
them. Times are medians over the rounds, ratios the medians of the rounds'
ratios. The float32 nets get their pixels as float32 already.
"""
import argparse
import functools
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time

import numpy

sys.path.insert(
    0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import kernels
from data import mnist
from kernels.threads import n_threads, run_in_threads
from prediction import packed_net
from system.npz_reader import NpzReader

_BATCH = 1000
_SINGLES = 100

# Seconds in which the threads of the contender before stop waiting for work.
# Then comes a run that does not count, in which threads find their cores.
_REST = .2


def random_arrays(sizes):
    """Returns a net of random weights whose units are not constant."""
    rng = numpy.random.RandomState(0)
    arrays = {}
    for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:]), 1):
        def normal(scale, n_out=n_out):
            return rng.normal(0, scale, n_out).astype(numpy.float32)

        arrays[f'l{i}/W'] = rng.uniform(
            -1, 1, (n_out, n_in)).astype(numpy.float32)
        arrays[f'l{i}/b'] = normal(.1)
        arrays[f'bn{i}/gamma'] = 1 + normal(.2)
        arrays[f'bn{i}/beta'] = normal(.1)
        arrays[f'bn{i}/avg_mean'] = normal(n_in ** .5 / 4)
        arrays[f'bn{i}/avg_var'] = numpy.full(n_out, n_in, numpy.float32)
    return arrays


def binary_layers(arrays):
    """Yields +-1 weights and, of ``scale * s + shift``, shift and scale."""
    i = 1
    while f'l{i}/W' in arrays:
        W = numpy.where(arrays[f'l{i}/W'] >= 0, 1, -1).astype(numpy.float32)
        scale = arrays[f'bn{i}/gamma'] / numpy.sqrt(
            arrays[f'bn{i}/avg_var'] + packed_net.EPS)
        shift = arrays[f'bn{i}/beta'] + scale * (
            arrays[f'l{i}/b'] - arrays[f'bn{i}/avg_mean'])
        yield W, shift.astype(numpy.float32), scale.astype(numpy.float32)
        i += 1


def folded_layers(arrays):
    """Yields weights and bias with batch normalization folded into them.

    Before a sign that is the whole of it: each hidden layer is one product
    and one comparison, which is the least that float32 can do.
    """
    layers = list(binary_layers(arrays))
    for W, shift, scale in layers[:-1]:
        flip = numpy.where(scale < 0, -1, 1).astype(numpy.float32)
        yield W * flip[:, None], flip * shift / scale
    W, shift, scale = layers[-1]
    yield W * scale[:, None], shift


def make_packed(arrays):
    net = packed_net.PackedMLP.from_arrays(arrays)
    return net.predict, kernels.description()


def make_numpy(arrays):
    layers = [(numpy.ascontiguousarray(W.T), b)
              for W, b in folded_layers(arrays)]

    def predict(x):
        y = numpy.empty(len(x), numpy.int64)
        for start in range(0, len(x), _BATCH):
            h = x[start:start + _BATCH]
            for i, (W, b) in enumerate(layers):
                h = h @ W
                h += b
                if i < len(layers) - 1:
                    numpy.copysign(numpy.float32(1), h, out=h)
            y[start:start + _BATCH] = h.argmax(axis=1)
        return y

    return predict, f'NumPy {numpy.__version__}, {blas()}'


def make_chainer(arrays):
    import chainer_compat  # noqa: F401  (makes Chainer importable)
    import chainer
    import chainer.links as L

    from qst import qst

    chain = chainer.Chain()
    n_layers = sum(name.endswith('/W') for name in arrays)
    arrays = dict(arrays)
    with chain.init_scope():
        for i in range(1, n_layers + 1):
            W = arrays[f'l{i}/W']
            # Chainer's own product: this project's is one of bits.
            arrays[f'l{i}/W'] = numpy.where(W >= 0, 1, -1).astype(W.dtype)
            setattr(chain, f'l{i}', L.Linear(*W.shape[::-1]))
            setattr(chain, f'bn{i}', L.BatchNormalization(len(W)))
    chainer.serializers.NpzDeserializer(arrays, strict=False).load(chain)

    def predict(x):
        y = numpy.empty(len(x), numpy.int64)
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            for start in range(0, len(x), _BATCH):
                h = x[start:start + _BATCH]
                for i in range(1, n_layers + 1):
                    h = chain[f'bn{i}'](chain[f'l{i}'](h))
                    if i < n_layers:
                        h = qst(h)
                y[start:start + _BATCH] = h.array.argmax(axis=1)
        return y

    return predict, f'Chainer {chainer.__version__}'


def make_pytorch(arrays):
    import torch

    layers = [(torch.from_numpy(W), torch.from_numpy(b))
              for W, b in folded_layers(arrays)]
    one = torch.ones(())

    @torch.inference_mode()
    def predict(x):
        y = []
        for start in range(0, len(x), _BATCH):
            h = torch.from_numpy(x[start:start + _BATCH])
            for i, (W, b) in enumerate(layers):
                h = torch.nn.functional.linear(h, W, b)
                if i < len(layers) - 1:
                    h = torch.copysign(one, h)
            y.append(h.argmax(dim=1))
        return torch.cat(y).numpy()

    return predict, (f'PyTorch {torch.__version__}, '
                     f'{torch.get_num_threads()} threads')


CONTENDERS = {'packed': make_packed, 'NumPy float32': make_numpy,
              'Chainer float32': make_chainer, 'PyTorch float32': make_pytorch}


def blas():
    try:
        config = numpy.show_config(mode='dicts')['Build Dependencies']['blas']
        return f'{config["name"]} {config["version"]}'
    except (TypeError, KeyError):  # NumPy before 1.25 only prints it
        return 'unknown BLAS'


def processor():
    try:
        with open('/proc/cpuinfo') as f:
            for line in f:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def work(connection, name, arrays):
    """A contender's process: answers each request with a time in seconds."""
    try:
        predict, description = CONTENDERS[name](arrays)
    except ImportError as e:
        connection.send(e)
        return
    x, _ = mnist.read('test.npz')
    if name != 'packed':
        x = x.astype(numpy.float32) * numpy.float32(1 / 255)
    connection.send((description, predict(x)))
    predict(x[:1])
    while True:
        request = connection.recv()
        if request is None:
            return
        time.sleep(_REST)
        predict(x)
        start = time.perf_counter()
        if request == 'all':
            predict(x)
            n = 1
        else:
            n = _SINGLES
            for i in range(n):
                predict(x[i:i + 1])
        connection.send((time.perf_counter() - start) / n)


def measure(title, arrays, rounds):
    print(f'\n{title}')
    context = multiprocessing.get_context('spawn')
    workers, predictions = {}, {}
    for name in CONTENDERS:
        connection, there = context.Pipe()
        process = context.Process(target=work, args=(there, name, arrays))
        process.start()
        answer = connection.recv()
        if isinstance(answer, ImportError):
            print(f'{name}: not measured, {answer}')
            process.join()
            continue
        description, predictions[name] = answer
        workers[name] = process, connection, description
    times = {}
    for _ in range(rounds):
        for request in 'one', 'all':
            for name, (_, connection, _) in workers.items():
                connection.send(request)
                times.setdefault((request, name), []).append(
                    connection.recv())
    for process, connection, _ in workers.values():
        connection.send(None)
        process.join()

    def ratio(request, name):
        return statistics.median(
            slow / fast for slow, fast in zip(times[request, name],
                                              times[request, 'packed']))

    print(f'{"":16} {"10,000 images":>14} {"":>8} {"one image":>11} '
          f'{"":>8} {"differ":>6}')
    for name, (_, _, description) in workers.items():
        everything, single = (statistics.median(times[request, name])
                              for request in ('all', 'one'))
        differ = (predictions[name] != predictions['packed']).sum()
        print(f'{name:16} {1e3 * everything:>11.1f} ms '
              f'{ratio("all", name):>6.1f} x {1e6 * single:>8.1f} us '
              f'{ratio("one", name):>6.1f} x {differ:>6}   {description}')
    medians = {name: {request: statistics.median(times[request, name])
                      for request in ('all', 'one')} for name in workers}
    others = [name for name in workers if name != 'packed']
    for request, label in (('all', '10,000 images'), ('one', 'one image')):
        best = min(others, key=lambda name, r=request:
                   statistics.median(times[r, name]))
        print(f'{label}: {ratio(request, best):.1f} times the speed of the '
              f'best float32 ({best})')
    return medians


def make_register_loop():
    """Returns a function that only counts bits, n vectors in registers."""
    import numba
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from kernels.compiled import vector_intrinsics as vectors

    # Chains of counts of counts: independent of each other, no additions.
    n_chains = 8

    @intrinsic
    def count(typingctx, n, memory):
        def codegen(context, builder, signature, args):
            data = vectors.address_of(
                context, builder, signature.args[1], args[1],
                vectors.int64(0), vectors.VECTOR)
            chains = [cgutils.alloca_once_value(builder, vectors.load(
                builder, data, vectors.int64(i))) for i in range(n_chains)]
            with cgutils.for_range(builder, args[0]):
                for chain in chains:
                    builder.store(vectors.count_bits(
                        builder, builder.load(chain)), chain)
            for i, chain in enumerate(chains):
                builder.store(builder.load(chain), builder.gep(
                    data, [ir.Constant(ir.IntType(64), i)]), align=8)
            return context.get_dummy_value()

        return types.void(types.int64, memory), codegen

    @numba.njit(nogil=True)
    def loop(n_words):
        memory = numpy.full(vectors.LANES * n_chains, -1, numpy.int64)
        count(n_words // memory.size, memory)
        return memory[0]

    loop(0)
    return loop


def measure_kernel(rounds):
    """Prints how near the XNOR product is to the popcount unit's limit."""
    try:
        loop = make_register_loop()
    except ImportError as e:
        print(f'\npopcount limit: not measured, {e}')
        return
    n = n_threads()
    rng = numpy.random.RandomState(0)
    print(f'\nXNOR product of 10,000 rows on {n} threads')
    for units in 1024, 4096:
        words = units // 64
        a, w = (rng.randint(0, 256, (rows, 8 * words), numpy.uint8)
                .view(numpy.uint64) for rows in (10000, units))
        tiles = kernels.tile_weights(w)
        n_counts = 10000 * units * words
        threshold = numpy.zeros(units, numpy.int32)
        falling = numpy.zeros(words, numpy.uint64)

        def limit(n_counts=n_counts):
            run_in_threads(lambda part: loop(part.stop - part.start),
                           n_counts, n)

        def by_batch(function, *args, a=a):
            for start in range(0, len(a), _BATCH):
                function(a[start:start + _BATCH], *args)

        calls = {
            'limit': limit,
            # By 1,000 rows: new memory for 10,000 rows of integers would take
            # longer than the product.
            'product by 1,000': functools.partial(
                by_batch, kernels.xnor_dot, tiles, units, units),
            'product and sign': functools.partial(
                kernels.xnor_sign, a, tiles, units, threshold, falling),
        }
        times = {name: [] for name in calls}
        for i in range(rounds + 1):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                if i:
                    times[name].append(time.perf_counter() - start)
        for name, values in times.items():
            share = statistics.median(
                limit / t for limit, t in zip(times['limit'], values))
            print(f'{units} x {units}: {name:16} '
                  f'{1e3 * statistics.median(values):7.2f} ms, '
                  f'{100 * share:3.0f} % of the popcount limit')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--snapshot', metavar='FILE',
                        help='trained net with two hidden layers; left out, '
                             'its weights are random')
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--large-rounds', type=int, default=5,
                        help='rounds of the net with 3 x 4096 units')
    parser.add_argument('--save', metavar='FILE',
                        help='write the median seconds as JSON, for the '
                             'README')
    args = parser.parse_args()

    print(f'{processor()}, {n_threads()} cores, Python '
          f'{platform.python_version()}, kernels: {kernels.description()}')
    measure_kernel(args.rounds)
    title, arrays = 'random weights', random_arrays([784, 1000, 1000, 10])
    if args.snapshot:
        with NpzReader(args.snapshot) as npz:
            title, arrays = 'trained', packed_net.read_snapshot(npz)
    medians = {'2 x 1000': measure(
        f'784-1000-1000-10, {title}', arrays, args.rounds)}
    if args.large_rounds:
        medians['3 x 4096'] = measure(
            '784-4096-4096-4096-10, random weights',
            random_arrays([784, 4096, 4096, 4096, 10]), args.large_rounds)
    if args.save:
        with open(args.save, 'w') as f:
            json.dump(medians, f, indent=4)
            f.write('\n')


if __name__ == '__main__':
    main()
