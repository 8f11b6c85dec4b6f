"""Max pooling of images on the GPU, a thread for each value of the result."""
import functools

import cupy
import numpy

MAX_POOLING = (
    'raw T x, int32 height, int32 width, int32 out_height, int32 out_width, '
    'int32 kh, int32 kw',
    'T y, uint8 index',
    '''
    const long long plane = i / out_width / out_height;
    const int row = i / out_width % out_height, column = i % out_width;
    const long long first = (plane * height + row * kh) * width + column * kw;
    T best = x[first];
    int place = 0;
    for (int k = 1; k < kh * kw; ++k) {
        const T value = x[first + k / kw * width + k % kw];
        // True for NaN, but behind another one.
        if (!(value <= best) && best == best) {
            best = value;
            place = k;
        }
    }
    y = best;
    index = place;
    ''',
    'quantized_net_max_pooling')

MAX_POOLING_BACKWARD = (
    'raw T gy, raw uint8 index, int32 height, int32 width, int32 out_height, '
    'int32 out_width, int32 kh, int32 kw',
    'T gx',
    '''
    const int row = i / width % height, column = i % width;
    const long long at = (
        i / width / height * out_height + row / kh) * out_width + column / kw;
    gx = row / kh < out_height && column / kw < out_width
        && index[at] == row % kh * kw + column % kw ? gy[at] : T(0);
    ''',
    'quantized_net_max_pooling_backward')


@functools.cache
def _kernel(definition):
    return cupy.ElementwiseKernel(*definition)


def _flat(array):
    return cupy.ascontiguousarray(array).reshape(-1)


def max_pooling_2d(x, ksize):
    """See ``numpy_kernels.max_pooling_2d``."""
    size = x.shape[2:]
    out_size = size[0] // ksize[0], size[1] // ksize[1]
    shape = *x.shape[:2], *out_size
    y, index = cupy.empty(shape, x.dtype), cupy.empty(shape, numpy.uint8)
    if y.size:
        _kernel(MAX_POOLING)(
            _flat(x), *map(numpy.int32, (*size, *out_size, *ksize)), y, index)
    return y, index


def max_pooling_2d_backward(gy, index, ksize, size):
    """See ``numpy_kernels.max_pooling_2d_backward``."""
    gx = cupy.empty((*gy.shape[:2], *size), gy.dtype)
    if gx.size:
        _kernel(MAX_POOLING_BACKWARD)(
            _flat(gy), _flat(index),
            *map(numpy.int32, (*size, *gy.shape[2:], *ksize)), gx)
    return gx
