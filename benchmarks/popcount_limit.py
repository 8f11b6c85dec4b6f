"""How near the XNOR product is to what the CPU can count at most."""
import functools
import statistics
import time

import numpy

import kernels
from benchmarks.contenders import BATCH
from kernels.cores import n_threads
from kernels.threads import run_in_threads


def make_register_loop():
    """Returns a function that does nothing but count the bits of n words."""
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


def measure(all_units, rounds):
    """Prints the XNOR product's time beside that of counting alone.

    Args:
        all_units (list of int): Sizes of square layers, multiples of 64.
        rounds (int): Measurements of each.

    """
    try:
        loop = make_register_loop()
    except ImportError as e:
        print(f'\npopcount limit: not measured, {e}')
        return
    n = n_threads()
    rng = numpy.random.RandomState(0)
    print(f'\nXNOR product of 10,000 rows on {n} threads')
    for units in all_units:
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
            for start in range(0, len(a), BATCH):
                function(a[start:start + BATCH], *args)

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
