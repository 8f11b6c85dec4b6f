// Runs the program of a page of net.html in Node: node page_speed.js PAGE
// PIXELS LOGITS ROUNDS writes the logits of all images and prints the seconds
// of each round.
'use strict';
const fs = require('fs');
const loadPage = require('./load_page.js');

const [page, pixelsFile, logitsFile, rounds] = process.argv.slice(2);
const {description, api} = loadPage(page, ['Net']);

const net = new api.Net(description);
const [n] = description.sizes;
const pixels = new Uint8Array(fs.readFileSync(pixelsFile));
const seconds = [];
let logits = [];
for (let round = 0; round < rounds; round++) {
  logits = [];
  const start = performance.now();
  for (let i = 0; i < pixels.length; i += n) {
    logits.push(...net.classify(pixels.subarray(i, i + n)).logits);
  }
  seconds.push((performance.now() - start) / 1000);
}
fs.writeFileSync(logitsFile, Buffer.from(Float32Array.from(logits).buffer));
console.log(JSON.stringify(seconds));
