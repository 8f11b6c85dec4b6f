"""How a convolution's window moves over an image."""
import typing


class Window(typing.NamedTuple):
    """Steps of a window, of (height, width) each, and groups of channels.

    Attributes:
        stride (tuple of int): Pixels between two places of the window.
        pad (tuple of int): Zeros before the first and behind the last pixel.
        dilate (tuple of int): Pixels between two values of the window.
        groups (int): Groups of channels, each of which is convolved apart.

    """

    stride: tuple = (1, 1)
    pad: tuple = (0, 0)
    dilate: tuple = (1, 1)
    groups: int = 1

    def out_size(self, size, ksize):
        """Returns height and width of the output.

        Args:
            size (tuple of int): Height and width of the input.
            ksize (tuple of int): Height and width of the window.

        """
        return tuple(
            (n + 2 * pad - dilate * (k - 1) - 1) // stride + 1
            for n, k, stride, pad, dilate in zip(
                size, ksize, self.stride, self.pad, self.dilate))

    def taps(self, ksize, out_size):
        """Yields each value of the window with the pixels that it meets.

        Args:
            ksize (tuple of int): Height and width of the window.
            out_size (tuple of int): Height and width of the output.

        Yields:
            tuple: Row and column in the window, and the two slices of a padded
            image, of ``out_size`` pixels.

        """
        for row in range(ksize[0]):
            for column in range(ksize[1]):
                starts = row * self.dilate[0], column * self.dilate[1]
                yield row, column, tuple(
                    slice(start, start + (n - 1) * stride + 1, stride)
                    for start, n, stride in zip(
                        starts, out_size, self.stride))
