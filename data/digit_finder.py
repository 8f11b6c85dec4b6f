"""Which part of a picture is the digit: not its frame, specks or noise."""
import numpy

from data import paper
from data.components import box_mean, boxes, grown, label, otsu

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

# Share of its box that a sheet of paper fills, and no stroke but an upright 1.
_FILLED = .68


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
            return inside
        digit.doubts.append('it is a patch, not a stroke')
    return digit


def _find_on(colours, background):
    smooth, ink, noise = _smooth(colours - background)
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


class Parts:
    """Connected parts of a picture: where they are, which are the digit's.

    Args:
        weak (numpy.ndarray): Mask of the parts.
        strong (numpy.ndarray): Mask of what each part has some of, unless it
            is noise.
        threshold (float): Of what is strong.

    """

    def __init__(self, weak, strong, threshold):
        self.labels, n = label(weak)
        self.threshold = threshold
        self.height, self.width = weak.shape
        self._areas = numpy.bincount(self.labels.reshape(-1), minlength=n + 1)
        self._boxes = numpy.concatenate([[[0] * 4], boxes(self.labels, n)])
        self._strengths = numpy.bincount(self.labels[strong], minlength=n + 1)
        self._strong = [int(i) for i in numpy.flatnonzero(self._strengths)
                        if i]
        least = max(2, .03 * max(self.height, self.width))
        self._large = [i for i in self._strong if self.size([i]) >= least]

    def of(self, parts):
        """Returns the mask of some parts."""
        chosen = numpy.zeros(len(self._areas), bool)
        chosen[list(parts)] = True
        return chosen[self.labels]

    def free(self, parts):
        """Returns the mask of where no other part is."""
        return (self.labels == 0) | self.of(parts)

    def box(self, parts):
        """Returns first and last row, first and last column of parts."""
        some = self._boxes[list(parts)]
        return [int(v) for v in (some[:, 0].min(), some[:, 1].max(),
                                 some[:, 2].min(), some[:, 3].max())]

    def strength(self, part):
        """Returns how many pixels of a part are strong."""
        return int(self._strengths[part])

    def size(self, parts):
        """Returns the longer side of the box around some parts."""
        top, bottom, left, right = self.box(parts)
        return max(bottom - top, right - left) + 1

    def touches(self, parts):
        """Says whether some parts reach the picture's edge."""
        top, bottom, left, right = self.box(parts)
        return (top == 0 or left == 0 or bottom == self.height - 1
                or right == self.width - 1)

    def is_solid(self, parts):
        """Says whether some parts are the picture itself, but for a rim."""
        top, bottom, left, right = self.box(parts)
        area = (bottom - top + 1) * (right - left + 1)
        return (self._areas[list(parts)].sum() > .9 * area
                and area > .8 * self.labels.size)

    def patch(self, parts):
        """Returns rows and columns inside of a filled rectangle, or None."""
        top, bottom, left, right = self.box(parts)
        height, width = bottom - top + 1, right - left + 1
        short, long = sorted((height, width))
        if (short < 32 or short < .6 * long or self._areas[list(parts)].sum()
                < _FILLED * height * width):
            return None
        # What is not upright has its corners in the middle of the sides.
        dy, dx = round(.15 * height), round(.15 * width)
        return (slice(top + dy, bottom + 1 - dy),
                slice(left + dx, right + 1 - dx))

    def frames(self):
        """Returns the mask of what frames the picture or other parts."""
        mask = numpy.zeros(self.labels.shape, bool)
        for i in self._large:
            if self._is_edge(i):
                mask |= self.labels == i
            else:
                self._add_frame(i, mask)
        return mask

    def _is_edge(self, i):
        top, bottom, left, right = self.box([i])
        margin = -(-max(self.height, self.width) // 100)
        if (top > margin and left > margin and bottom < self.height - margin
                and right < self.width - margin):
            return False
        mask = self.labels == i
        if max(line.mean() for line in _sides(mask, margin, margin)) < .6:
            return False
        depth = max(1, min(self.height, self.width) // 5)
        return mask[depth:-depth, depth:-depth].sum() <= .1 * mask.sum()

    def _add_frame(self, i, result):
        """Adds to a mask what of a part is drawn around other things."""
        top, bottom, left, right = self.box([i])
        mask = (self.labels == i)[top:bottom + 1, left:right + 1]
        dy, dx = (max(1, round(.12 * n)) for n in mask.shape)
        drawn = min(line.mean() for line in _sides(mask, dy, dx))
        if drawn < .5:
            return
        frame = mask
        if mask[dy:-dy, dx:-dx].sum() > .1 * mask.sum():
            if drawn < .8 or not _has_corners(mask, dy, dx):
                return
            frame = _outline(mask, dy, dx)
        # Is there anything in it?
        size = self.size([i])
        rest = self.labels[top:bottom + 1, left:right + 1] > 0
        rest &= ~grown(frame, 1)
        labels, n = label(rest)
        for a, b, c, d in boxes(labels, n):
            if (max(b - a, d - c) >= .25 * size and a > 0 and c > 0
                    and b < mask.shape[0] - 1 and d < mask.shape[1] - 1):
                result[top:bottom + 1, left:right + 1] |= frame
                return

    def main(self):
        """Returns the part that is most like a digit, or None."""
        return max(self._large, key=self._score, default=None)

    def _score(self, i):
        top, bottom, left, right = self.box([i])
        y = (top + bottom + 1) / self.height - 1
        x = (left + right + 1) / self.width - 1
        score = self._areas[i] * numpy.exp(-2 * (x * x + y * y))
        return score * (.1 if self.touches([i]) else 1)

    def with_neighbours(self, main):
        """Returns the part and those near it that belong to the digit."""
        chosen = [main]
        while True:
            reach = grown(self.of(chosen), max(1, round(
                .2 * self.size(chosen))))
            near = {int(i) for i in numpy.unique(self.labels[reach])}
            more = [i for i in self._strong
                    if i in near and i not in chosen
                    and self._belongs(i, main, chosen)]
            if not more:
                return chosen
            chosen += more

    def _belongs(self, i, main, chosen):
        return (self._areas[i] >= .03 * self._areas[main]
                and self.size([i]) <= self.size([main])
                and self.size([*chosen, i]) <= 1.5 * self.size([main])
                and not self._is_digit(i, main))

    def _is_digit(self, i, main):
        """Says whether a part is a digit of its own beside the main one."""
        top, bottom, left, right = self.box([main])
        top_i, bottom_i, left_i, right_i = self.box([i])
        return (bottom_i - top_i >= .7 * (bottom - top)
                and (left_i > right or right_i < left))

    def _is_line(self, i, main):
        """Says whether a part is thin, and longer than the digit."""
        size = self.size([i])
        return (size >= 1.2 * self.size([main])
                and self._areas[i] < .05 * size * size)

    def doubts(self, main, chosen):
        """Returns the reasons why the chosen parts may not be the digit."""
        reasons = []
        others = [i for i in self._strong if i not in chosen
                  and self.size([i]) >= .5 * self.size([main])
                  and self._areas[i] >= .3 * self._areas[main]
                  and not self._is_line(i, main)]
        if others:
            reasons.append(f'{len(others) + 1} things may be the digit')
        if self.touches(chosen):
            reasons.append('it may be cut off at the edge')
        top, bottom, left, right = self.box(chosen)
        if right - left > 1.5 * (bottom - top):
            reasons.append('it is wider than a digit')
        return reasons


def _sides(mask, dy, dx):
    """Returns where something lies along the top, bottom, left and right."""
    return (mask[:dy].any(axis=0), mask[-dy:].any(axis=0),
            mask[:, :dx].any(axis=1), mask[:, -dx:].any(axis=1))


def _has_corners(mask, dy, dx):
    """Says whether something lies in each corner of a mask."""
    return all(numpy.rot90(mask, k)[:a, :b].any()
               for k, (a, b) in enumerate([(dy, dx), (dx, dy)] * 2))


def _outline(mask, dy, dx):
    """Returns the outermost line of a mask, as thick as most of it is."""
    result = numpy.zeros_like(mask)
    for k, depth in enumerate([dy, dx] * 2):
        turned, out = numpy.rot90(mask, k), numpy.rot90(result, k)
        row = numpy.arange(len(turned))[:, None]
        first = turned.argmax(axis=0)
        # Of each column's first run of pixels: the row below it.
        last = (~turned & (row > first)).argmax(axis=0)
        last = numpy.where(last, last, len(turned))
        drawn = turned.any(axis=0) & (first < depth)
        if drawn.any():
            thick = numpy.median((last - first)[drawn])
            last = numpy.minimum(last, first + int(1.5 * thick) + 1)
            out |= turned & drawn & (row >= first) & (row < last)
    return result
