"""A matrix of quantized weights, for the products of a linear layer."""


class Matrix:
    """Weights that are quantized already, for forward and backward.

    Args:
        array (array): Float matrix of shape (M, K).
        dot (callable): Returns the product of two matrices.

    Attributes:
        array (array): The matrix of the argument.

    """

    def __init__(self, array, dot):
        self.array = array
        self._dot = dot

    def multiply_transposed(self, x):
        """Returns ``x array^T`` of shape (N, M), for x of shape (N, K)."""
        return self._dot(x, self.array.T)

    def multiply(self, gy):
        """Returns ``gy array`` of shape (N, K), for gy of shape (N, M)."""
        return self._dot(gy, self.array)
