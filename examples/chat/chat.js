// The chat room in Node.js: see main.go, which does the same.
'use strict';
const fs = require('fs');
const http = require('http');
const { setTimeout: sleep } = require('timers/promises');
const muster = require('../../clients/node/muster.js').open();

const heard = [];
let held = null;
let fills = 0;
const limiter = muster.limiter('chat', { rate: 20, burst: 20 });
const said = muster.counter('said');
const topics = muster.cache('topics', { ttl: 3600e3 });

const answers = {
  'POST /say': async (q) => String((await muster.publish('room', q.get('text'))).receivers),
  'GET /heard': async () => heard,
  'GET /who': async () => {
    const names = [muster.name];
    for await (const answer of muster.gather('all', 'chat:who')) names.push(answer.body);
    return names.sort();
  },
  'GET /ask': (q) => muster.request(q.get('to'), 'chat:echo', q.get('text')),
  'POST /take': async (q) => {
    const got = await limiter.take(q.get('key'));
    return got.allowed ? 'yes' : `no, wait ${got.wait} ms`;
  },
  'POST /add': async (q) => String(await said.add(Number(q.get('n')))),
  'GET /topic': () => topics.fill('topic', () => {
    fills++;
    return fs.readFileSync(process.env.TOPIC, 'utf8');
  }),
  'PUT /topic': (q) => muster.lock('topic').run(async () => {
    fs.writeFileSync(process.env.TOPIC, q.get('text'));
    await topics.del('topic');
    return '';
  }),
  'GET /fills': async () => String(fills),
  // the fence, and from when to when it had the lock, by the clock that all processes of
  // a host share
  'POST /hold': async (q) => {
    const mine = await muster.lock('hold', { lease: Number(q.get('lease')) || undefined }).acquire();
    const from = process.hrtime.bigint();
    held = mine;
    await sleep(Number(q.get('ms')), null, { signal: mine.lost }).catch(() => { throw mine.lost.reason; });
    held = null;
    const to = process.hrtime.bigint();
    await mine.release();
    return `${mine.fence} ${from} ${to}`;
  },
  'GET /held': async () => (held ? held.token : ''),
  'POST /op': (q) => muster.request(q.get('to') || '', q.get('op'), JSON.parse(q.get('body') || 'null')),
};

http.createServer(async (req, res) => {
  const url = new URL(req.url, 'http://localhost');
  const answer = answers[`${req.method} ${url.pathname}`];
  try {
    const value = answer ? await answer(url.searchParams) : undefined;
    if (value === undefined) res.statusCode = 404;
    res.end(typeof value === 'string' ? value : JSON.stringify(value));
  } catch (error) {
    res.statusCode = 503;
    res.end(`${error.code}: ${error.message}\n`);
  }
}).listen(process.env.PORT, '127.0.0.1');

muster.handle('chat:echo', (text) => `${muster.name}: ${text}`);
muster.handle('chat:who', () => muster.name);
muster.subscribe('room', (text) => { heard.push(text); });
