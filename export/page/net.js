'use strict';

// The net: +1 and -1 are the bits 1 and 0, 32 of them in a word, and a sum of
// products is a count of bits. All is integers up to the last layer, which
// rounds to float32 after each operation, as NumPy does.

function popcount(v) {
  v -= v >>> 1 & 0x55555555;
  v = (v & 0x33333333) + (v >>> 2 & 0x33333333);
  return Math.imul(v + (v >>> 4) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

// Words of rows of bits: in the text each row begins with a new byte, in the
// result with a new word, whose bits beyond the row are 0.
function unpack(text, rows, columns) {
  const bytes = atob(text);
  const nBytes = Math.ceil(columns / 8), nWords = Math.ceil(columns / 32);
  const words = new Uint32Array(rows * nWords);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < nBytes; i++) {
      words[row * nWords + (i >> 2)] |=
        bytes.charCodeAt(row * nBytes + i) << 8 * (i & 3);
    }
  }
  return words;
}

class Net {
  // description: what html_page.py writes.
  constructor({sizes, weights, thresholds, norm}) {
    this.sizes = sizes;
    this.weights = weights.map(
      (text, i) => unpack(text, sizes[i + 1], sizes[i]));
    this.thresholds = thresholds.map((values) => Int32Array.from(values));
    this.norm = norm.map((values) => Float32Array.from(values));
  }

  // pixels: bytes, light on black. Returns the words of each hidden layer,
  // logits and probabilities of the classes, and the best one.
  classify(pixels) {
    const last = this.thresholds.length;
    const activations = [this.first(pixels)];
    for (let i = 1; i < last; i++) {
      activations.push(this.signs(i, this.sums(i, activations[i - 1])));
    }
    const logits = this.logits(this.sums(last, activations[last - 1]));
    let best = 0;
    logits.forEach((y, i) => {  // The first where two are equal.
      if (y > logits[best]) best = i;
    });
    const powers = Array.from(logits, (y) => Math.exp(y - logits[best]));
    const total = powers.reduce((a, b) => a + b);
    return {
      activations, logits, best, probabilities: powers.map((p) => p / total)};
  }

  // Bit-plane n of the pixels counts 2^n times. Most of the planes' words are
  // 0, of black pixels, and left out.
  first(pixels) {
    const nWords = Math.ceil(this.sizes[0] / 32);
    const planes = new Uint32Array(8 * nWords);
    let total = 0;
    pixels.forEach((pixel, i) => {
      total += pixel;
      for (let n = 0; n < 8; n++) {
        planes[n * nWords + (i >> 5)] |= (pixel >> n & 1) << (i & 31);
      }
    });
    const places = [];
    planes.forEach((word, k) => {
      if (word) places.push(k);
    });
    const used = Uint32Array.from(places, (k) => planes[k]);
    const shifts = Uint8Array.from(places, (k) => k / nWords);
    const columns = Uint32Array.from(places, (k) => k % nWords);
    const weights = this.weights[0], sums = new Float64Array(this.sizes[1]);
    for (let unit = 0; unit < sums.length; unit++) {
      const row = unit * nWords;
      let positive = 0;
      for (let k = 0; k < used.length; k++) {
        positive += popcount(used[k] & weights[row + columns[k]]) << shifts[k];
      }
      sums[unit] = 2 * positive - total;
    }
    return this.signs(0, sums);
  }

  // Sums of layer i, 0 is the first, of the words of the layer before it.
  sums(i, input) {
    const nIn = this.sizes[i], weights = this.weights[i];
    const sums = new Float64Array(this.sizes[i + 1]);
    for (let unit = 0, k = 0; unit < sums.length; unit++) {
      let different = 0;
      for (let j = 0; j < input.length; j++, k++) {
        different += popcount(input[j] ^ weights[k]);
      }
      sums[unit] = nIn - 2 * different;
    }
    return sums;
  }

  signs(i, sums) {
    const thresholds = this.thresholds[i];
    const words = new Uint32Array(Math.ceil(sums.length / 32));
    sums.forEach((s, unit) => {
      if (s >= thresholds[unit]) words[unit >> 5] |= 1 << (unit & 31);
    });
    return words;
  }

  logits(sums) {
    const f = Math.fround;
    const [b, mean, invStd, gamma, beta] = this.norm;
    return Float32Array.from(sums, (s, i) => f(f(f(
      f(f(s + b[i]) - mean[i]) * invStd[i]) * gamma[i]) + beta[i]));
  }
}
