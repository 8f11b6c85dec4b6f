// From ink to pixels: what is drawn, on a fine grid that is the same on every
// screen, and the small picture that the net takes.

// Ink of a pen, from 0 to 255.
class Ink {
  constructor(width, height, pen) {
    this.width = width;
    this.height = height;
    this.radius = pen / 2;
    this.levels = new Uint8Array(width * height);
  }

  clear() {
    this.levels.fill(0);
  }

  // A line with round ends; the same point twice is a dot.
  line([x0, y0], [x1, y1]) {
    const reach = this.radius + 1;
    const left = Math.max(0, Math.floor(Math.min(x0, x1) - reach));
    const right = Math.min(this.width, Math.ceil(Math.max(x0, x1) + reach));
    const top = Math.max(0, Math.floor(Math.min(y0, y1) - reach));
    const bottom = Math.min(this.height, Math.ceil(Math.max(y0, y1) + reach));
    const dx = x1 - x0, dy = y1 - y0, square = dx * dx + dy * dy;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) {
        const px = x + .5 - x0, py = y + .5 - y0;
        const t = square && Math.min(1, Math.max(
          0, (px * dx + py * dy) / square));
        const ex = px - t * dx, ey = py - t * dy;
        const level = 255 * (
          this.radius + .5 - Math.sqrt(ex * ex + ey * ey));
        const i = y * this.width + x;
        // Stored, a level is rounded down and at most 255.
        if (level > this.levels[i]) this.levels[i] = Math.min(255, level);
      }
    }
  }
}

// As Python's round and NumPy's rint: halves to the even neighbour.
function roundEven(x) {
  const low = Math.floor(x), rest = x - low;
  return low + (rest > .5 || rest === .5 && low % 2 !== 0 ? 1 : 0);
}

// Pillow's BOX along one side: each pixel is the mean of those whose centres
// it covers, or the nearest one where there is none. The values of line i
// begin at i * lineStep, step apart. Returns the lines one after the other.
function resizeLines(values, nLines, lineStep, n, step, newN) {
  const scale = n / newN, filter = Math.max(scale, 1);
  const result = new Float32Array(nLines * newN);
  for (let k = 0; k < newN; k++) {
    const centre = (k + .5) * scale;
    const from = Math.max(0, Math.trunc(centre - filter / 2 + .5));
    const to = Math.min(n, Math.trunc(centre + filter / 2 + .5));
    const covered = [];
    for (let i = from; i < to; i++) {
      const place = (i - centre + .5) * (1 / filter);
      if (place > -.5 && place <= .5) covered.push(i);
    }
    for (let line = 0; line < nLines; line++) {
      let sum = 0;
      for (const i of covered) {
        sum += values[line * lineStep + i * step] * (1 / covered.length);
      }
      result[line * newN + k] = sum;
    }
  }
  return result;
}

function resize(values, width, height, newWidth, newHeight) {
  const rows = resizeLines(values, height, width, width, 1, newWidth);
  const columns = resizeLines(rows, newWidth, 1, height, newWidth, newHeight);
  // Of one column after the other, as it is, one row after the other.
  return resizeLines(columns, newHeight, 1, newWidth, newHeight, newWidth);
}

// As data/digit_image.py makes a digit into one of MNIST's, if all of the ink
// is one: cut out, scaled to a box of 20 x 20 pixels with its proportions
// kept, and set into 28 x 28 black ones, its centre of mass in the middle.
const FIELD = 28, BOX = 20, IN_BOX = 64;

// There a tenth of the ink is taken for the paper's texture.
const WITHOUT_TEXTURE = Float32Array.from(
  {length: 256}, (_, level) => Math.max(0, (level - 25.5) * (255 / 229.5)));

// Returns 784 bytes, or null if there is no ink.
function asDigit(ink) {
  let left = ink.width, right = -1, top = ink.height, bottom = -1;
  ink.levels.forEach((level, i) => {
    if (WITHOUT_TEXTURE[level] > IN_BOX) {
      const x = i % ink.width, y = Math.floor(i / ink.width);
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = y;
    }
  });
  if (bottom < 0) return null;
  const width = right - left + 1, height = bottom - top + 1;
  const values = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      values[y * width + x] = WITHOUT_TEXTURE[
        ink.levels[(top + y) * ink.width + left + x]];
    }
  }
  const scale = BOX / Math.max(width, height);
  const w = Math.max(1, roundEven(width * scale));
  const h = Math.max(1, roundEven(height * scale));
  const digit = resize(values, width, height, w, h);
  const gain = Math.fround(255 / digit.reduce((a, b) => Math.max(a, b)));
  let total = 0, sumX = 0, sumY = 0;
  digit.forEach((value, i) => {
    digit[i] = value *= gain;
    total += digit[i];
    sumX += digit[i] * (i % w);
    sumY += digit[i] * Math.floor(i / w);
  });
  // From the middle of the field to where the mass is in the middle, but not
  // beyond the edge.
  const start = (n, sum) => {
    const at = Math.floor((FIELD - n) / 2);
    const move = -roundEven(at + sum / total - (FIELD - 1) / 2);
    return Math.min(Math.max(at + move, 0), FIELD - n);
  };
  const x0 = start(w, sumX), y0 = start(h, sumY);
  const field = new Uint8Array(FIELD * FIELD);
  digit.forEach((value, i) => {
    field[(y0 + Math.floor(i / w)) * FIELD + x0 + i % w] = roundEven(value);
  });
  return field;
}

// All of the drawing, scaled, on a background that may be grey; null if there
// is no ink.
function asPlain(ink, [height, width], background) {
  if (!ink.levels.some((level) => level)) return null;
  return Uint8Array.from(
    resize(ink.levels, ink.width, ink.height, width, height),
    (level) => roundEven(background + level * ((255 - background) / 255)));
}

// The image that a net takes of a drawing.
function asImage(ink, {isDigit, shape, background}) {
  return isDigit ? asDigit(ink) : asPlain(ink, shape, background);
}
