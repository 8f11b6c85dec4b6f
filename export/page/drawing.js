// The field to draw in, and what follows from each stroke.

// Side of the grid of ink, and width of the pen on it.
const SIDE = 280, PEN = 22;

// Milliseconds of repeated work that one classification's time is the mean
// of: a browser's clock may be coarse.
const CLOCK = 15;

class Drawing {
  // changed: called after each change, with whether a stroke has ended.
  constructor(canvas, width, height, changed) {
    this.canvas = canvas;
    this.ink = new Ink(width, height, PEN);
    this.changed = changed;
    this.strokes = [];
    this.cleared = null;
    this.pointer = null;
    canvas.addEventListener('pointerdown', (event) => this.begin(event));
    canvas.addEventListener('pointermove', (event) => this.go(event));
    for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      canvas.addEventListener(name, (event) => this.end(event));
    }
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    new ResizeObserver(() => this.fit()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener(
      'change', () => this.fit());
  }

  // As many pixels as the screen has there.
  fit() {
    const scale = this.canvas.clientWidth / this.ink.width;
    const dots = scale * (window.devicePixelRatio || 1);
    this.canvas.width = Math.max(1, Math.round(this.ink.width * dots));
    this.canvas.height = Math.max(1, Math.round(this.ink.height * dots));
    const context = this.canvas.getContext('2d');
    context.setTransform(dots, 0, 0, dots, 0, 0);
    context.strokeStyle = getComputedStyle(this.canvas).color;
    context.lineWidth = PEN;
    context.lineCap = context.lineJoin = 'round';
    this.strokes.forEach((stroke) => this.trace(stroke));
  }

  // The whole pen stays on the field.
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const inside = (x, n) => Math.min(n - PEN / 2, Math.max(PEN / 2, x));
    const {width, height} = this.ink;
    return [inside((event.clientX - box.left) * width / box.width, width),
      inside((event.clientY - box.top) * height / box.height, height)];
  }

  trace(points) {
    const context = this.canvas.getContext('2d');
    context.beginPath();
    context.moveTo(...points[0]);
    points.forEach((point) => context.lineTo(...point));
    context.stroke();
  }

  line(from, to) {
    this.ink.line(from, to);
    this.trace([from, to]);
  }

  begin(event) {
    if (this.pointer !== null || event.button !== 0) return;
    this.pointer = event.pointerId;
    try {
      this.canvas.setPointerCapture(this.pointer);
    } catch {
      // An event that a script made has no pointer.
    }
    const point = this.place(event);
    this.strokes.push([point]);
    this.line(point, point);
    this.changed(false);
  }

  go(event) {
    if (event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    const stroke = this.strokes[this.strokes.length - 1];
    for (const each of events.length ? events : [event]) {
      const point = this.place(each);
      this.line(stroke[stroke.length - 1], point);
      stroke.push(point);
    }
    this.changed(false);
  }

  end(event) {
    if (event.pointerId !== this.pointer) return;
    this.pointer = null;
    this.changed(true);
  }

  replace(strokes) {
    this.pointer = null;
    this.strokes = strokes;
    this.ink.clear();
    for (const stroke of strokes) {
      stroke.forEach((point, i) => this.ink.line(
        stroke[Math.max(0, i - 1)], point));
    }
    const context = this.canvas.getContext('2d');
    context.clearRect(0, 0, this.ink.width, this.ink.height);
    this.strokes.forEach((stroke) => this.trace(stroke));
    this.changed(true);
  }

  get canUndo() {
    return this.strokes.length > 0 || this.cleared !== null;
  }

  // Takes back the last stroke, or clear.
  undo() {
    if (!this.canUndo) return;
    const strokes = this.strokes.length
      ? this.strokes.slice(0, -1) : this.cleared;
    if (!this.strokes.length) this.cleared = null;
    this.replace(strokes);
  }

  clear() {
    if (!this.strokes.length) return;
    this.cleared = this.strokes;
    this.replace([]);
  }
}

// Height and width of the ink of pictures of this shape: those of a narrow
// one are scaled, or nobody could draw in them.
function inkSize([height, width]) {
  const ratio = Math.min(2, Math.max(.5, width / height));
  return {width: Math.round(SIDE * Math.min(1, ratio)),
    height: Math.round(SIDE / Math.max(1, ratio))};
}

// Milliseconds that a net takes for one picture.
function time(net, pixels) {
  const start = performance.now();
  let n = 0, passed = 0;
  while (passed < CLOCK) {
    net.classify(pixels);
    n++;
    passed = performance.now() - start;
  }
  return passed / n;
}

function milliseconds(t) {
  return `${t.toFixed(t < 1 ? 2 : 1)} ms`;
}

function start() {
  const get = (id) => document.getElementById(id);
  const description = JSON.parse(get('net').textContent);
  const net = new Net(description);
  const answer = new Answer(description);
  const {shape} = description, {width, height} = inkSize(shape);
  document.documentElement.style.setProperty('--ratio', width / height);
  let result = null, isWaiting = false, hasEnded = false;

  function update() {
    isWaiting = false;
    const pixels = asImage(drawing.ink, description);
    result = pixels && net.classify(pixels);
    answer.show(result, pixels);
    get('field').classList.toggle('empty', !drawing.strokes.length);
    get('undo').disabled = !drawing.canUndo;
    get('clear').disabled = !drawing.strokes.length;
    if (hasEnded) {
      answer.say(result);
      get('time').textContent = pixels
        ? `answer in ${milliseconds(time(net, pixels))}` : '';
    }
    hasEnded = false;
  }

  // Once a frame, however many events there are.
  const drawing = new Drawing(get('drawing'), width, height, (ended) => {
    hasEnded = hasEnded || ended;
    if (!isWaiting) requestAnimationFrame(update);
    isWaiting = true;
  });
  get('field').classList.add('empty');
  get('undo').addEventListener('click', () => drawing.undo());
  get('clear').addEventListener('click', () => drawing.clear());
  document.addEventListener('keydown', (event) => {
    const isUndo = event.key === 'Backspace'
      || event.key === 'z' && (event.ctrlKey || event.metaKey);
    if (!isUndo && event.key !== 'Escape' && event.key !== 'Delete') return;
    event.preventDefault();
    if (isUndo) drawing.undo();
    else drawing.clear();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener(
    'change', update);
  // What a test looks at.
  window.page = {drawing, net, get result() {
    return result;
  }};
}

if (typeof document !== 'undefined') start();
