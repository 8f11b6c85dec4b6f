// What the page shows of an answer: the class, all probabilities, the picture
// and the bits on their way through the net.

// Classes up to which each has a column of its own, if names are short; and
// rows, of the best classes where there are more.
const MOST_COLUMNS = 64, LONGEST_IN_COLUMN = 2, MOST_ROWS = 10;

function element(parent, tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return parent.appendChild(made);
}

function percent(p) {
  // Not 100 % of what is less.
  return p < 1 && p > .9995 ? '> 99.9 %' : `${(100 * p).toFixed(1)} %`;
}

// Probabilities as bars: columns in the order of the classes, or rows.
class Chart {
  constructor(parent, names) {
    this.names = names;
    const short = names.every(
      (name) => Array.from(name).length <= LONGEST_IN_COLUMN);
    this.isRows = !short || names.length > MOST_COLUMNS;
    // Where not all classes have a row, it is the best of them, best first.
    this.isSorted = this.isRows && names.length > MOST_ROWS;
    const shown = this.isSorted ? names.slice(0, MOST_ROWS) : names;
    parent.classList.add(this.isRows ? 'rows' : 'columns');
    parent.classList.toggle('many', shown.length > 12);
    this.bars = shown.map((name) => {
      const bar = element(parent, 'div', 'bar');
      const label = element(bar, 'span', 'name', this.isSorted ? '' : name);
      const fill = element(element(bar, 'span', 'track'), 'span', 'fill');
      const value = this.isRows ? element(bar, 'span', 'value') : null;
      return {bar, label, fill, value};
    });
  }

  // probabilities: of all classes, or null.
  show(probabilities, order) {
    this.bars.forEach(({bar, label, fill, value}, place) => {
      const i = this.isSorted && order ? order[place] : place;
      const p = probabilities ? probabilities[i] : 0;
      bar.classList.toggle('top', order !== null && i === order[0]);
      fill.style.transform = `scale${this.isRows ? 'X' : 'Y'}(${p.toFixed(4)})`;
      if (value) value.textContent = probabilities ? percent(p) : '';
      if (this.isSorted) label.textContent = order ? this.names[i] : '';
    });
  }
}

// A small picture whose pixels are as dark as their values, from 0 to 255.
class Pixels {
  constructor(parent, caption, height, width) {
    const figure = element(parent, 'figure');
    this.canvas = element(figure, 'canvas');
    this.canvas.width = width;
    this.canvas.height = height;
    this.canvas.setAttribute('role', 'img');
    this.caption = element(figure, 'figcaption', '', caption);
    this.image = new ImageData(width, height);
  }

  show(value) {
    const context = this.canvas.getContext('2d');
    context.fillStyle = getComputedStyle(this.canvas).color;
    const colour = parseInt(context.fillStyle.slice(1), 16);
    const {data} = this.image;
    for (let i = 0; 4 * i < data.length; i++) {
      data[4 * i] = colour >> 16;
      data[4 * i + 1] = colour >> 8 & 255;
      data[4 * i + 2] = colour & 255;
      data[4 * i + 3] = value(i);
    }
    context.putImageData(this.image, 0, 0);
  }

  name(label) {
    this.canvas.setAttribute('aria-label', label);
  }
}

class Answer {
  // net: sizes, names and shape as html_page.py writes them.
  constructor({sizes, names, shape}) {
    this.names = names;
    this.chart = new Chart(document.getElementById('chart'), names);
    const inside = document.getElementById('inside');
    this.picture = new Pixels(
      inside, 'what it sees', shape[0], shape[1]);
    this.layers = sizes.slice(1, -1).map((units) => {
      element(inside, 'span', 'arrow', '\u2192').setAttribute(
        'aria-hidden', 'true');
      const side = Math.ceil(Math.sqrt(units));
      const pixels = new Pixels(
        inside, `${units} bits`, Math.ceil(units / side), side);
      return {units, pixels};
    });
    this.show(null, null);
  }

  // Shows what Net.classify returned for these pixels, or that there is
  // nothing, null.
  show(result, pixels) {
    const get = (id) => document.getElementById(id);
    get('answer').classList.toggle('empty', !result);
    const order = result && Array.from(this.names.keys()).sort(
      (a, b) => result.probabilities[b] - result.probabilities[a]
        || result.logits[b] - result.logits[a] || a - b);
    const name = result ? this.names[result.best] : '?';
    const length = Array.from(name).length;
    get('best').textContent = name;
    get('best').dataset.length =
      length > 16 ? 'sentence' : length > 3 ? 'word' : 'sign';
    get('sure').textContent = result
      ? percent(result.probabilities[result.best]) : 'Nothing is drawn yet.';
    // Rows say that themselves.
    get('second').textContent = result && order.length > 1 && !this.chart.isRows
      ? `then ${this.names[order[1]]}, ${percent(
        result.probabilities[order[1]])}` : '';
    this.chart.show(result && result.probabilities, order);
    this.picture.show((i) => pixels ? pixels[i] : 0);
    this.picture.name(result ? 'The picture that the network sees'
      : 'The picture that the network sees: empty');
    this.layers.forEach(({units, pixels: bits}, layer) => {
      const words = result && result.activations[layer];
      const isOne = (i) => i < units && words[i >> 5] >>> (i & 31) & 1;
      bits.show((i) => result && isOne(i) ? 255 : 0);
      const ones = result ? words.reduce((n, v) => n + popcount(v), 0) : 0;
      bits.name(`Hidden layer ${layer + 1}: ` + (result
        ? `${ones} of ${units} units say plus one` : 'nothing yet'));
      bits.caption.textContent = result
        ? `${ones} are +1` : `${units} bits`;
    });
  }

  // Says it to who listens rather than looks.
  say(result) {
    document.getElementById('said').textContent = result
      ? `${this.names[result.best]}, ${percent(
        result.probabilities[result.best])}` : 'Nothing is drawn.';
  }
}
