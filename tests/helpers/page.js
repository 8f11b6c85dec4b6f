// Runs the program of a page of net.html in Node, without a browser:
// node page.js PAGE TASK INPUT OUTPUT; each task is a function below.
'use strict';
const fs = require('fs');
const loadPage = require('../../benchmarks/load_page.js');

const [page, task, input, output] = process.argv.slice(2);
const {description, api} = loadPage(
  page, ['Net', 'Ink', 'asDigit', 'asImage', 'inkSize', 'roundEven', 'PEN']);

const tasks = {
  // Images of bytes: of each its class, logits and probabilities, as doubles.
  classify(images) {
    const net = new api.Net(description), n = description.sizes[0];
    const results = [];
    for (let i = 0; i < images.length; i += n) {
      const {best, logits, probabilities} =
        net.classify(images.subarray(i, i + n));
      results.push(best, ...logits, ...probabilities);
    }
    return Float64Array.from(results);
  },

  // Ink of 280 x 280 bytes: pictures of 28 x 28.
  digits(inks) {
    const results = [];
    for (let i = 0; i < inks.length; i += 280 * 280) {
      results.push(...api.asDigit(
        {width: 280, height: 280, levels: inks.subarray(i, i + 280 * 280)}));
    }
    return Uint8Array.from(results);
  },

  // Strokes as JSON: the ink, then its picture.
  draw(json) {
    const results = [];
    for (const strokes of JSON.parse(Buffer.from(json).toString())) {
      const {width, height} = api.inkSize(description.shape);
      const ink = new api.Ink(width, height, api.PEN);
      for (const stroke of strokes) {
        stroke.forEach((point, i) => ink.line(
          stroke[Math.max(0, i - 1)], point));
      }
      results.push(ink.levels, api.asImage(ink, description));
    }
    return new Uint8Array(Buffer.concat(results));
  },

  round(doubles) {
    return new Float64Array(
      Uint8Array.from(doubles).buffer).map(api.roundEven);
  },
};

const result = tasks[task](fs.readFileSync(input));
fs.writeFileSync(output, Buffer.from(result.buffer));
