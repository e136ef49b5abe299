// A worker that does what it is told to by HTTP, good or bad.
'use strict';
const http = require('http');
const muster = require('../../../../clients/node/muster.js').open();

muster.addCommand({ name: 'greet', pattern: 'NAME [TIMES:int]', help: 'greets' },
  ({ NAME, TIMES }) => `hello ${NAME} `.repeat(TIMES || 1).trim());
muster.onStop((error) => console.log(`stopping: ${error ? error.message : 'as told'}`));

const todo = {
  '/pid': () => String(process.pid),
  '/block': () => { for (;;); },
  '/throw': () => setImmediate(() => { throw new TypeError('the sky fell'); }),
  '/life': () => muster.lifecycle('warming the cache'),
  '/kill': () => muster.kill({ reason: 'had enough', exitCode: 7 }).catch(() => {}),
};

http.createServer((req, res) => {
  const value = todo[req.url]();
  res.end(typeof value === 'string' ? value : 'ok');
}).listen(process.env.PORT, '127.0.0.1');
