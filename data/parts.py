"""Connected parts of the ink in a picture: frames, digits, specks."""
import numpy

from data.components import boxes, grown, label

# Share of its box that a sheet of paper fills, and no stroke but an upright 1.
_FILLED = .68


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

    def _is_around(self, i, j):
        """Says whether a part is drawn around another, not a small one."""
        top, bottom, left, right = self.box([i])
        top_j, bottom_j, left_j, right_j = self.box([j])
        return (top < top_j and bottom_j < bottom and left < left_j
                and right_j < right
                and self.size([j]) >= .25 * self.size([i]))

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
        if any(self._is_around(i, j) for i in chosen for j in chosen):
            reasons.append('one part of it is drawn around another')
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
