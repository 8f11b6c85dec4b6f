import chainer_compat
import chainer
import numpy

import quantizers
from layers.quantize_gradient import quantize_gradient


def test_forward_is_the_identity_and_backward_rounds(random):
    x = chainer.Variable(random.uniform(-2, 2, (4, 5)).astype('f'))
    y = quantize_gradient(x, quantizers.Log(4))
    numpy.testing.assert_array_equal(y.array, x.array)
    gy = random.standard_normal((4, 5)).astype('f')
    y.grad = gy.copy()
    y.backward(retain_grad=True)
    numpy.testing.assert_array_equal(x.grad, quantizers.Log(4)(gy))
    numpy.testing.assert_array_equal(y.grad, gy)
    assert (x.grad != gy).any()


def test_the_second_gradient_is_straight_through(random):
    x = chainer.Variable(random.uniform(-2, 2, (4, 5)).astype('f'))
    gy = chainer.Variable(random.standard_normal((4, 5)).astype('f'))
    y = quantize_gradient(x, quantizers.Linear(4))
    gx, = chainer.grad([y], [x], [gy], enable_double_backprop=True)
    ggx = random.standard_normal((4, 5)).astype('f')
    ggy, = chainer.grad([gx], [gy], [chainer.Variable(ggx)])
    numpy.testing.assert_array_equal(ggy.array, ggx)
