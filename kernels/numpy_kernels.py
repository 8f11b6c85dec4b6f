"""The kernels in plain NumPy: the reference for the others.

Every function takes and returns ``numpy.ndarray`` of any float dtype and any
memory layout. ``numba_kernels`` and ``cupy_kernels`` hold the same functions
under the same names.
"""
import numpy

# Adam's update walks over the parameters in blocks of this many values, whose
# five arrays stay in a core's second-level cache.
_BLOCK = 1 << 14


def binarize(x):
    """Returns the sign of x: +1 where ``x >= 0``, -1 where ``x < 0``.

    0 and -0.0 give +1; NaN stays NaN.
    """
    y = numpy.sign(x, out=numpy.empty_like(x))
    y += numpy.equal(x, 0)
    return y


def binarize_backward(x, gy):
    """Returns the straight-through gradient of the clipped sign.

    ``gx = gy * (|x| <= 1)``, which is 0 where x is NaN.
    """
    return numpy.multiply(gy, numpy.abs(x) <= 1, out=numpy.empty_like(gy))


def batch_normalization(x, gamma, beta, eps):
    """Normalizes each column by its own mean and variance.

    ``y = gamma (x - mean) / sqrt(var + eps) + beta``, each operation rounded
    to the dtype of the arrays, in the order that Chainer's function has.

    Args:
        x (numpy.ndarray): Batch of shape (N, M).
        gamma, beta (numpy.ndarray): Scale and shift of shape (M,), x's dtype.
        eps (float): Small value for the numerical stability.

    Returns:
        tuple: y (N, M), and mean, variance and ``1 / sqrt(var + eps)``, (M,).

    """
    mean = x.mean(axis=0)
    var = x.var(axis=0)
    inv_std = numpy.reciprocal(numpy.sqrt(var + x.dtype.type(eps)))
    y = (x - mean) * inv_std * gamma + beta
    return y, mean, var, inv_std


def batch_normalization_backward(x, gamma, gy, mean, inv_std):
    """Returns the gradients of ``batch_normalization``.

    Args:
        x, gamma, mean, inv_std (numpy.ndarray): Inputs and results of the
            forward, N not 0.
        gy (numpy.ndarray): Upstream gradient of shape (N, M).

    Returns:
        tuple: gx (N, M), ggamma (M,), gbeta (M,).

    """
    x_hat = (x - mean) * inv_std
    ggamma = (gy * x_hat).sum(axis=0)
    gbeta = gy.sum(axis=0)
    inv_n = x.dtype.type(1. / len(x))
    gx = gamma * inv_std * (gy - (x_hat * ggamma + gbeta) * inv_n)
    return gx, ggamma, gbeta


def adam(param, grad, m, v, alpha_t, beta1, beta2, eps, eta,
         lower=-numpy.inf, upper=numpy.inf):
    """One step of Adam, then a clip to [lower, upper]; all in place.

    ``m += (1 - beta1) (grad - m)``, ``v += (1 - beta2) (grad^2 - v)``,
    ``param -= eta alpha_t / (sqrt(v) + eps) m``, each operation rounded to
    the dtype of the arrays, in the order that Chainer's Adam has. A NaN stays
    NaN.

    Args:
        param, grad, m, v (numpy.ndarray): Arrays of one shape and dtype;
            ``param``, ``m`` and ``v`` are updated.
        alpha_t (float): Step size with the bias correction.
        beta1, beta2, eps, eta (float): Chainer's hyperparameters.
        lower, upper (float): Limits of the parameter after the step.
    """
    updated = param, m, v
    if not all(array.flags.c_contiguous for array in updated):
        copies = [numpy.ascontiguousarray(array) for array in updated]
        adam(copies[0], grad, *copies[1:], alpha_t, beta1, beta2, eps, eta,
             lower, upper)
        for array, copy in zip(updated, copies):
            array[...] = copy
        return
    # In the arrays' dtype, so that no operation is done in a wider one.
    alpha_t, beta1_c, beta2_c, eps, eta, lower, upper = (
        param.dtype.type(scalar) for scalar in (
            alpha_t, 1.0 - beta1, 1.0 - beta2, eps, eta, lower, upper))
    # Views, so that the update happens in place.
    param, m, v = param.reshape(-1), m.reshape(-1), v.reshape(-1)
    grad = grad.reshape(-1)
    scratch = numpy.empty(min(_BLOCK, param.size), param.dtype)
    for start in range(0, param.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        p, g, m_, v_ = param[block], grad[block], m[block], v[block]
        t = scratch[:p.size]
        numpy.subtract(g, m_, out=t)
        t *= beta1_c
        m_ += t
        numpy.multiply(g, g, out=t)
        t -= v_
        t *= beta2_c
        v_ += t
        numpy.sqrt(v_, out=t)
        t += eps
        numpy.divide(alpha_t, t, out=t)
        t *= m_
        t *= eta
        p -= t
        numpy.clip(p, lower, upper, out=p)
