"""Which part of a picture is the digit: not its frame, specks or noise."""
import numpy

from data import paper
from data.components import box_mean, grown, otsu
from data.parts import Parts

# Difference from the paper, of 255, below which nothing is drawn, and that
# below which a drawing is called faint.
MIN_CONTRAST, _FAINT = 24, 48

# Share of the darkest ink in a picture below which no stroke is looked for:
# a JPEG leaves shadows of such strength beside black.
_MIN_SHARE = .1

# Share of a picture with a digit that is ink, at most, unless the digit is
# cut out along its strokes.
_MAX_INK = .3

# Shares of the threshold down to which a stroke goes on; the greater ones are
# for strokes that would go on to the picture's edge, along a line in paper.
_WEAK = .5, .75, 1


class Digit:
    """What :func:`find` found.

    Attributes:
        ink (numpy.ndarray): How much like ink each pixel of the picture is,
            from 0 to 255, and 0 wherever the digit is not.
        doubts (list of str): Reasons why it may not be the digit.
        is_cropped (bool): Whether it fills the picture, so that what was
            taken for paper may be ink.
        patch (tuple of slice or None): Rows and columns inside of it, if it
            is a filled rectangle rather than a stroke.

    """

    def __init__(self, ink, doubts, is_cropped, patch=None):
        self.ink, self.doubts, self.is_cropped = ink, doubts, is_cropped
        self.patch = patch


def find(colours):
    """Finds the digit in a picture.

    What differs from the paper by more than Otsu's threshold is ink. Of its
    connected parts, those along the picture's edges and those around others
    are frames; the largest of the rest, where central ones count more, is the
    digit, with parts near it that are no digits of their own.

    Args:
        colours (numpy.ndarray): Floats from 0 to 255 of shape (height, width,
            channels).

    Returns:
        Digit: Or ``None`` if there is none.

    """
    digit = _find_on(colours, paper.estimate(colours))
    if digit is None or digit.is_cropped:
        digit = _find_on(colours, paper.at_edge(colours)) or digit
    if digit is not None and digit.patch:
        # No stroke: a sheet of paper, maybe, with the digit on it.
        inside = find(colours[digit.patch])
        if inside is not None:
            ink = numpy.zeros(colours.shape[:2], inside.ink.dtype)
            ink[digit.patch] = inside.ink
            inside.ink = ink
            # Or the hole of a 0 whose stroke is broad.
            inside.doubts.append('it lies in a patch, or that is the digit')
            return inside
        digit.doubts.append('it is a patch, not a stroke')
    return digit


def _find_on(colours, background):
    # Where there is less light, paper and ink differ less, too.
    light = numpy.maximum(background, 255 - background)
    smooth, ink, noise = _smooth(
        (colours - background) * (numpy.median(light) / light))
    parts = _parts(ink, noise, _WEAK[0])
    main = parts and parts.main()
    if main is None:
        return None
    for share in _WEAK[1:]:
        if not parts.touches([main]):
            break
        fewer = _parts(ink, noise, share)
        same = fewer and fewer.main()
        if same and fewer.strength(same) > .9 * parts.strength(main):
            parts, main = fewer, same
    chosen = parts.with_neighbours(main)
    mask = parts.of(chosen)
    if parts.is_solid(chosen):
        return None
    # Grey levels of ink: along the line from the paper's colour to its own.
    core = mask & (ink > parts.threshold)
    direction = smooth[core].mean(axis=0)
    grey = smooth @ direction / max(float(direction @ direction), 1e-30)
    top = numpy.percentile(grey[core], 98)
    contrast = top * abs(direction).max()
    if contrast < MIN_CONTRAST:
        return None
    doubts = parts.doubts(main, chosen)
    if contrast < _FAINT:
        doubts.append('it is faint')
    # Paper's texture and a JPEG's noise are a small part of the contrast.
    floor = .1 * top
    grey = numpy.clip((grey - floor) * (255 / (top - floor)), 0, 255)
    edge = grown(mask, max(1, round(.02 * parts.size(chosen))))
    return Digit(numpy.where(edge & parts.free(chosen), grey, 0), doubts,
                 parts.touches(chosen)
                 or (ink > parts.threshold).mean() > _MAX_INK,
                 parts.patch(chosen))


def _smooth(difference):
    """Returns differences without noise, their size, and what noise is left.

    The mean of more and more pixels is taken while there is noise, up to 7 x
    7, or 1/40 of the picture.
    """
    most = min(3, min(difference.shape[:2]) // 40)
    for radius in range(most + 1):
        smooth = box_mean(difference, radius) if radius else difference
        ink = abs(smooth).max(axis=2)
        noise = min(1.5 * float(numpy.median(ink)), _roughness(smooth))
        if noise < .06 * ink.max():
            break
    return smooth, ink, noise


def _roughness(picture):
    """Returns the standard deviation of a picture's noise.

    It is that of the smoother half of the picture: the other may be strokes.
    """
    lag = max(1, min(8, min(picture.shape[:2]) // 16))
    bends = []
    for p in picture, picture.swapaxes(0, 1):
        bend = abs(p[2 * lag:] - 2 * p[lag:-lag] + p[:-2 * lag]).max(axis=2)
        bends.append(bend.reshape(-1))
    bends = numpy.concatenate(bends)
    # The half's median, of normally distributed noise, is 0.78 of it.
    return float(numpy.percentile(bends, 25)) / .78 if bends.size else 0.


def _parts(ink, noise, share):
    """Returns the connected parts of the ink, without frames.

    The threshold is that of what is left: dark edges do not hide a pencil.
    A share of it is enough where a stroke goes on.
    """
    least = max(.5 * MIN_CONTRAST, 5 * noise, _MIN_SHARE * float(ink.max()))
    looked_at = numpy.ones(ink.shape, bool)
    while looked_at.any():
        threshold = max(otsu(ink[looked_at]), least)
        weak = looked_at & (ink > max(share * threshold, 4 * noise))
        parts = Parts(weak, ink > threshold, threshold)
        frames = parts.frames()
        if not frames.any():
            return parts
        looked_at &= ~grown(frames, 2)
    return None
