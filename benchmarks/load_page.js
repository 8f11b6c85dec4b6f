// The net and the program in a page of net.html, for Node.
'use strict';
const fs = require('fs');

// Returns what the page says of its net, and these names of its program.
module.exports = function loadPage(path, names) {
  const text = fs.readFileSync(path, 'utf8');
  const [, net] = text.match(
    /<script type="application\/json" id="net">(.*?)<\/script>/);
  const [, script] = text.match(/<script>(.*?)<\/script>/s);
  return {description: JSON.parse(net),
    api: new Function(`${script}\nreturn {${names.join(', ')}};`)()};
};
