"""The rows of a packed net's products, divided among threads of Python.

They sleep when they have nothing to do: a prediction takes no core from
anybody, and all cores after a fork as well.
"""
import collections

from kernels.cores import n_threads
from kernels.threads import run_in_threads

# Least rows that a thread takes: images whose octets stay in the second-level
# cache.
LEAST = 64

# Work for which a thread is woken, in popcounts of a word: some 50 us.
_WORK = 1 << 20

# Blocks of rows for each thread, if there are enough rows.
_BLOCKS = 8


def run(kernel, x, y, work, *args):
    """Runs ``kernel(x, *args, y)`` on the rows of x and y, and returns y.

    A thread takes the next block of rows when it is done with one: where
    another program has taken a core, the other threads take more blocks.

    Args:
        kernel (callable): Compiled function that needs no lock of Python's.
        x, y (numpy.ndarray): Operand and result, of as many rows.
        work (int): All that is to be done, in popcounts of a word.
        args (tuple): The other operands.

    """
    max_threads = min(n_threads(), work // _WORK)
    if max_threads <= 1:
        kernel(x, *args, y)
        return y
    step = max(LEAST, -(-len(x) // (_BLOCKS * max_threads)))
    blocks = collections.deque(range(0, len(x), step))

    def take_blocks(_):
        while True:
            try:
                start = blocks.popleft()
            except IndexError:
                return
            rows = slice(start, start + step)
            kernel(x[rows], *args, y[rows])

    run_in_threads(take_blocks, max_threads, max_threads)
    return y
