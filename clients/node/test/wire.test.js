'use strict';
const assert = require('node:assert/strict');
const { after, test } = require('node:test');
const { Worker, MusterError } = require('../muster.js');
const { FakeWire } = require('./agent.js');

process.setMaxListeners(0);

const wires = [];
after(() => { // what is still asked would keep this process alive
  for (const wire of wires) wire.on.end();
});

/** start is a Worker and its scripted agent, past hello. */
async function start(options, welcome) {
  const wire = new FakeWire();
  const errors = [];
  wires.push(wire);
  const m = new Worker(wire, { log: (...args) => errors.push(args.join(' ')), ...options });
  const agent = wire.script;
  await agent.welcome(welcome);
  await m.hello();
  return { m, agent, wire, errors };
}

const code = (expected) => (error) => {
  assert.ok(error instanceof MusterError, `${error}`);
  assert.equal(error.code, expected, error.message);
  return true;
};
const turn = () => new Promise((resolve) => setImmediate(resolve));
async function until(f, ms = 5000) {
  for (const end = Date.now() + ms; !f();) {
    assert.ok(Date.now() < end, `not in time: ${f}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test('hello is the first frame, and ids grow from the microseconds since 1970', async () => {
  const before = Date.now() * 1000;
  const { m, agent } = await start();
  assert.equal(m.name, 'web#0');
  const asked = m.request('web', 'a');
  m.request('web', 'b').catch(() => {});
  const [a, b] = [await agent.next('a'), await agent.next('b')];
  assert.ok(a.id > before && b.id === a.id + 1 && Number.isSafeInteger(b.id), `${before} ${a.id} ${b.id}`);
  assert.deepEqual({ ...a, id: 0 }, { cmd: 'MUSTER_OP', op: 'a', id: 0, to: 'web', within: 30000 });
  agent.reply(a, [1]);
  assert.deepEqual(await asked, [1]);
});

test('a reply with an error has its code, text, fix and sender', async () => {
  const { m, agent } = await start();
  const asked = m.request('web#1', 'a', null);
  const f = await agent.next('a');
  assert.equal(f.body, null);
  agent.send({ cmd: 'MUSTER_REPLY', id: f.id, from: 'web#1', error: { code: 'E-NO-PEER', text: 'nobody', fix: 'wait' } });
  await assert.rejects(asked, (e) => code('E-NO-PEER')(e) && e.message === 'nobody' && e.fix === 'wait' && e.from === 'web#1');
});

test('a request that nobody answers ends after its deadline; its late reply is counted', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { m, agent } = await start();
  const asked = m.request('web', 'slow', 1, { within: 50 });
  asked.catch(() => {});
  const f = await agent.next((x) => x.op === 'slow');
  assert.equal(f.within, 50);
  t.mock.timers.tick(1049);
  assert.equal(agent.frames.length, 0);
  t.mock.timers.tick(1);
  await assert.rejects(asked, code('E-DEADLINE'));
  assert.equal((await agent.next('MUSTER_CANCEL')).id, f.id);
  agent.reply(f, 1);
  assert.equal(m.counts.late, 1);
});

test('a request that is given up is cancelled', async () => {
  const { m, agent } = await start();
  const stop = new AbortController();
  const asked = m.request('web', 'slow', 1, { signal: stop.signal });
  const f = await agent.next('slow');
  stop.abort();
  await assert.rejects(asked, { name: 'AbortError' });
  assert.equal((await agent.next('MUSTER_CANCEL')).id, f.id);
  await assert.rejects(m.request('web', 'x', 1, { signal: stop.signal }), { name: 'AbortError' });
});

test('an op and a body, an object with its op, the JSON text of one', async () => {
  const { m, agent } = await start();
  for (const message of [['say', { text: 'hi' }], [{ op: 'say', text: 'hi' }], ['{"op":"say","text":"hi"}']]) {
    m.send('web', ...message);
    assert.deepEqual(await agent.next('say'), { cmd: 'MUSTER_OP', op: 'say', to: 'web', body: { text: 'hi' } });
  }
  m.send('', { op: 'bare' });
  assert.deepEqual(await agent.next('bare'), { cmd: 'MUSTER_OP', op: 'bare' });
});

test('what cannot be sent is refused before anything is', async () => {
  const { m, agent } = await start();
  const circle = {};
  circle.circle = circle;
  for (const [expected, ...args] of [
    ['E-USAGE', 'web', ''], ['E-USAGE', 'web', undefined], ['E-USAGE', 'web', '{nonsense'], ['E-USAGE', 'web', { text: 1 }],
    ['E-USAGE', 'web', 'x'.repeat(201)], ['E-USAGE', 'web', 'ü'.repeat(101)], ['E-USAGE', 'web', 'x', circle], ['E-USAGE', 'web', 'x', 1n],
    ['E-USAGE', 'web', 'x', () => 1], ['E-USAGE', 5, 'x'], ['E-TOO-LARGE', 'web', 'x', 'x'.repeat(1 << 20)], ['E-TOO-LARGE', 'web', 'x', 'ü'.repeat(1 << 19)],
    ['E-USAGE', 'web', 'x', 1, { within: 0 }], ['E-USAGE', 'web', 'x', 1, { within: NaN }],
  ]) await assert.rejects(m.request(...args), code(expected), `${args}`.slice(0, 60));
  await turn();
  assert.deepEqual(agent.frames, []);
  m.request('web', 'x', 'x'.repeat((1 << 20) - 2)).catch(() => {});
  assert.equal((await agent.next('x')).body.length, (1 << 20) - 2);
});

test('tell tells all and counts, send tells one', async () => {
  const { m, agent } = await start();
  const told = m.tell('all', 'news', 1);
  const f = await agent.next('news');
  assert.deepEqual({ all: f.all, within: f.within, to: f.to }, { all: true, within: -1, to: 'all' });
  agent.reply(f, { receivers: 2, missed: ['web#3'] });
  assert.deepEqual(await told, { receivers: 2, missed: ['web#3'] });
  await assert.rejects(m.tell('', 'news'), code('E-USAGE'));
});

test('gather yields replies as they come, then who is missing', async () => {
  const { m, agent } = await start();
  const gathering = m.gather('web', 'stats', null, { within: 500 });
  const seen = [];
  const all = (async () => {
    for await (const a of gathering) seen.push(a);
  })();
  const f = await agent.next('stats');
  assert.deepEqual([f.all, f.within], [true, 500]);
  agent.reply(f, 1, { more: true, from: 'web#1', pid: 11 });
  await until(() => seen.length === 1);
  agent.send({ cmd: 'MUSTER_REPLY', id: f.id, more: true, from: 'web#2', pid: 12, error: { code: 'E-HANDLER', text: 'bad' } });
  agent.reply(f, { asked: 3, replied: 2, missing: { 'web#3': 'E-DEADLINE' } });
  await all;
  assert.deepEqual(seen.map((a) => [a.from, a.pid, a.body, a.error && a.error.code, a.missing]), [
    ['web#1', 11, 1, undefined, undefined], ['web#2', 12, undefined, 'E-HANDLER', undefined], ['web#3', undefined, undefined, 'E-DEADLINE', true]]);
  assert.equal(gathering.asked, 3);
});

test('gather: all(), an error of the whole, and leaving early', async () => {
  const { m, agent } = await start();
  const all = m.gather('web', 'a').all();
  const f = await agent.next('a');
  agent.reply(f, 'x', { more: true, from: 'web#1' });
  agent.reply(f, { asked: 2, replied: 1, missing: { 'web#2': 'E-PEER-GONE' } });
  const got = await all;
  assert.deepEqual([got.answers.length, got.asked, got.missing], [1, 2, { 'web#2': 'E-PEER-GONE' }]);

  const none = m.gather('nobody', 'b').all();
  agent.fail(await agent.next('b'), 'E-NO-PEER');
  await assert.rejects(none, code('E-NO-PEER'));

  const early = (async () => {
    for await (const a of m.gather('web', 'c')) return a.from;
  })();
  const c = await agent.next('c');
  agent.reply(c, 1, { more: true, from: 'web#9' });
  assert.equal(await early, 'web#9');
  assert.equal((await agent.next('MUSTER_CANCEL')).id, c.id);
});

test('a handler answers; what it throws reaches the asker', async () => {
  const { m, agent, errors } = await start({ handlers: { early: () => 'there from the start' } });
  m.handle('sum', async ({ a, b }, request) => `${request.from}: ${a + b}`);
  m.handle('own', () => { throw Object.assign(new Error('no such room'), { code: 'E-ROOM', fix: 'make one' }); });
  m.handle('throws', () => { throw new TypeError('oops'); });
  m.handle('nothing', () => {});
  m.handle('big', () => 'x'.repeat(1 << 20));
  const ask = async (op, body) => {
    agent.tell(op, body, { id: 7, from: 'web#1', within: 1000 });
    const { cmd, ...rest } = await agent.next('MUSTER_REPLY');
    return rest;
  };
  assert.deepEqual(await ask('early'), { id: 7, body: 'there from the start' });
  assert.deepEqual(await ask('sum', { a: 1, b: 2 }), { id: 7, body: 'web#1: 3' });
  assert.deepEqual(await ask('own'), { id: 7, error: { code: 'E-ROOM', text: 'no such room', fix: 'make one' } });
  assert.deepEqual(await ask('throws'), { id: 7, error: { code: 'E-HANDLER', text: 'oops' } });
  assert.deepEqual(await ask('nothing'), { id: 7 });
  assert.equal((await ask('big')).error.code, 'E-TOO-LARGE');
  assert.equal((await ask('unknown')).error.code, 'E-UNKNOWN-OP');
  assert.ok(errors.some((e) => e.includes('oops')), `${errors}`);
  agent.tell('throws'); // nobody waits; it is logged
  await until(() => errors.length === 3);
});

test('of several handlers the last counts, and can be removed', async () => {
  const { m, agent } = await start();
  const ask = async () => {
    agent.tell('x', null, { id: 1, from: 'web#1' });
    const f = await agent.next('MUSTER_REPLY');
    return f.body || f.error.code;
  };
  const first = m.handle('x', () => 'first');
  const second = m.handle('x', () => 'second');
  assert.equal(await ask(), 'second');
  second();
  assert.equal(await ask(), 'first');
  first();
  assert.equal(await ask(), 'E-UNKNOWN-OP');
});

test('a handler hears that nobody waits any more', async () => {
  const { m, agent } = await start();
  const ends = [];
  m.handle('slow', (body, { signal }) => new Promise((resolve, reject) => signal.addEventListener('abort', () => {
    ends.push(signal.reason.code);
    reject(signal.reason);
  })));
  agent.tell('slow', 1, { id: 1, from: 'web#1', within: 60000 });
  agent.tell('slow', 1, { id: 2, from: 'web#1', within: 10 });
  await until(() => ends.length === 1);
  agent.send({ cmd: 'MUSTER_CANCEL', id: 1 });
  await until(() => ends.length === 2);
  assert.deepEqual(ends, ['E-DEADLINE', 'E-INTERRUPTED']);
});

test('what a handler sends counts as sent from within it, also later', async () => {
  const { m, agent } = await start();
  m.handle('circle', async () => {
    await turn();
    m.send('web', 'outside');
  });
  agent.tell('circle', 1, { from: 'web#1', hops: 3 });
  assert.equal((await agent.next('outside')).hops, 4);
  m.send('web', 'outside');
  assert.equal((await agent.next('outside')).hops, undefined);
  const failed = new Promise((resolve) => m.handle('deep', () => m.request('web', 'x').catch(resolve)));
  agent.tell('deep', 1, { from: 'web#1', hops: 16 });
  code('E-TOO-DEEP')(await failed);
});

test('the first reply of a listener answers; observers do not', async () => {
  const { m, agent } = await start();
  const seen = [];
  const both = Promise.all([m.listen('*', (body, { op }) => { seen.push(op); }), m.listen(['hi', 'ho'], (body, { op }) => (op === 'hi' ? 'hello' : undefined))]);
  for (const ops of [['*'], ['hi', 'ho']]) assert.deepEqual((await agent.answer('listen', {})).body, { ops });
  const [observer, answers] = await both;
  agent.tell('hi', 1, { id: 1, from: 'web#1' });
  assert.equal((await agent.next('MUSTER_REPLY')).body, 'hello');
  agent.tell('ho', 1, { id: 2, from: 'web#1' });
  assert.equal((await agent.next('MUSTER_REPLY')).error.code, 'E-UNKNOWN-OP');
  assert.deepEqual(seen, ['hi', 'ho']);
  answers();
  assert.deepEqual((await agent.next('unlisten')).body, { ops: ['hi', 'ho'] });
  observer();
  observer();
  assert.deepEqual((await agent.next('unlisten')).body, { ops: ['*'] });
});

test('a listener that throws beside a handler is no answer', async () => {
  const { m, agent } = await start();
  m.handle('x', async () => {
    await turn();
    return 'answer';
  });
  const listening = m.listen('x', () => { throw new Error('bad listener'); });
  await agent.answer('listen', {});
  await listening;
  agent.tell('x', 1, { id: 1, from: 'web#1' });
  assert.equal((await agent.next('MUSTER_REPLY')).body, 'answer');
});

test('more than 256 requests at a time are refused, and what muster asks is not', async () => {
  const { m, agent } = await start();
  const ends = [];
  m.handle('wait', () => new Promise((resolve) => ends.push(resolve)));
  const adding = m.addCommand({ name: 'count' }, () => ends.length);
  await agent.answer('commands:add', {});
  await adding;
  for (let id = 1; id <= 257; id++) agent.tell('wait', 1, { id, from: 'web#1' });
  const refused = await agent.next('MUSTER_REPLY');
  assert.deepEqual([refused.id, refused.error.code], [257, 'E-TABLE-FULL']);
  agent.tell('commands:run', { name: 'count', args: {} }, { id: 300 });
  assert.equal((await agent.next('MUSTER_REPLY')).body, 256);
  for (const end of ends) end();
  await until(() => agent.frames.length === 256);
});

test('messages of a channel come one after the other', async () => {
  const { m, agent } = await start();
  const seen = [];
  const subscribing = m.subscribe(':room', async (body, { channel, from }) => {
    seen.push(`begin ${body} ${channel} ${from}`);
    await turn();
    seen.push(`end ${body}`);
  });
  assert.deepEqual((await agent.answer('subscribe', {})).body, { channel: 'web:room', queue: '' });
  const cancel = await subscribing;
  for (const body of [1, 2]) agent.tell('message', body, { channel: 'web:room', from: 'web#1' });
  agent.tell('message', 3, { channel: 'another', from: 'web#1' });
  await until(() => seen.length === 4);
  assert.deepEqual(seen, ['begin 1 web:room web#1', 'end 1', 'begin 2 web:room web#1', 'end 2']);
  cancel();
  assert.deepEqual((await agent.next('unsubscribe')).body, { channel: 'web:room', queue: '' });
});

test('a queue goes in turn, beside what all get, and what is too much is a gap', async () => {
  const { m, agent } = await start();
  const seen = [];
  for (const name of ['a', 'b']) {
    const subscribing = m.subscribe('jobs', (body) => { seen.push(name + body); }, { queue: 'q' });
    await agent.answer('subscribe', {});
    await subscribing;
  }
  const all = m.subscribe('jobs', (body) => { seen.push(`all${body}`); });
  await agent.answer('subscribe', {});
  await all;
  for (let i = 0; i < 4; i++) agent.tell('message', i, { channel: 'jobs', queue: 'q' });
  agent.tell('message', 4, { channel: 'jobs' });
  agent.tell('message', 5, { channel: 'jobs', queue: 'unknown' });
  assert.deepEqual(seen, ['a0', 'b1', 'a2', 'b3', 'all4']);

  const gaps = [];
  m.on('gap', (n) => gaps.push(n));
  const subscribing = m.subscribe('slow', () => new Promise(() => {}));
  await agent.answer('subscribe', {});
  await subscribing;
  for (let i = 0; i < 1027; i++) agent.tell('message', i, { channel: 'slow' });
  assert.deepEqual(gaps, [1, 1]);
  agent.tell('gap', { missed: 5 });
  assert.deepEqual([gaps, m.counts.dropped], [[1, 1, 5], 7]);
});

test('publish names the channel, and a failed subscription is none', async () => {
  const { m, agent } = await start();
  const published = m.publish(':room', { text: 1 }, { op: 'said' });
  assert.deepEqual((await agent.answer('publish', { receivers: 3 })).body, { channel: 'web:room', message: { text: 1 }, op: 'said' });
  assert.deepEqual(await published, { receivers: 3 });
  const failing = m.subscribe('x', () => {});
  agent.fail(await agent.next('subscribe'), 'E-TABLE-FULL');
  await assert.rejects(failing, code('E-TABLE-FULL'));
});

test('another agent: what muster knows is repeated with its id, the rest fails', async () => {
  const { m, agent } = await start();
  const cache = m.cache('c');
  await agent.answer('cache:use', {});
  await turn();
  cache.set('k', 1);
  assert.equal(cache.get('k'), 1);
  const news = [];
  m.on('agent', (info) => news.push(info.epoch));
  const toOther = m.request('web', 'x');
  const counting = m.counter('n').add(2);
  const locking = m.lock('l').tryAcquire();
  const killing = m.kill();
  for (const p of [toOther, counting, locking, killing]) p.catch(() => {});
  const [, first, second] = [await agent.next('x'), await agent.next('counter:add'), await agent.next('lock:acquire'), await agent.next('kill')];
  agent.tell('agent:new', { agent: 2, epoch: 2 });
  await assert.rejects(toOther, code('E-AGENT-REPLACED'));
  await assert.rejects(killing, code('E-AGENT-REPLACED'));
  assert.equal(agent.frames[0].op, 'hello'); // before anything else
  assert.equal(agent.frames[0].again, undefined);
  await agent.welcome({ agent: 2, epoch: 2 });
  await until(() => m.welcome.epoch === 2);
  const again = [await agent.next((f) => f.again), await agent.next((f) => f.again)];
  assert.deepEqual(again, [{ ...first, again: true }, { ...second, again: true }]);
  await agent.answer('cache:use', {});
  assert.equal(cache.get('k'), undefined);
  agent.reply(first, { value: 2 });
  agent.reply(second, { held: false, owner: 'web#1' });
  assert.equal(await counting, 2);
  assert.equal(await locking, null);
  assert.deepEqual(news, [2]);
});

test('an answer that nobody knows is asked for again only where that does no harm', async () => {
  const { m, agent } = await start();
  const reading = m.counter('n').get();
  agent.fail(await agent.next('counter:get'), 'E-AGENT-REPLACED');
  await agent.answer('counter:get', { value: 4 });
  assert.equal(await reading, 4);
  const adding = m.counter('n').add(1);
  agent.fail(await agent.next('counter:add'), 'E-AGENT-REPLACED');
  await assert.rejects(adding, code('E-AGENT-REPLACED'));
});

test('no reply goes to an agent that has not asked', async () => {
  const { m, agent } = await start();
  let end;
  m.handle('slow', () => new Promise((resolve) => (end = resolve)));
  agent.tell('slow', 1, { id: 5, from: 'web#1' });
  agent.tell('agent:new', { epoch: 2 });
  end('too late');
  await turn();
  await turn();
  assert.deepEqual(agent.frames.map((f) => f.op), ['hello']);
});

test('a hello that the old agent has not answered is said again first', async () => {
  const wire = new FakeWire();
  wires.push(wire);
  const m = new Worker(wire);
  const counting = m.counter('c').add(1);
  const agent = wire.script;
  const hello = await agent.next('hello');
  const add = await agent.next('counter:add');
  agent.tell('agent:new', {});
  await turn();
  assert.deepEqual(agent.frames, [{ ...hello, again: true }, { ...add, again: true }]);
  agent.reply(hello, { name: 'web#4' });
  assert.equal((await m.hello()).name, 'web#4');
  agent.reply(add, { value: 1 });
  assert.equal(await counting, 1);
});

test('limiter: the exact delay, and who decides when muster cannot', async () => {
  const { m, agent } = await start();
  const limiter = m.limiter('mail', { rate: 5, burst: 10, interval: 2000 });
  const taking = limiter.take('ann', { tokens: 2 });
  const f = await agent.answer('limiter:take', { allowed: false, wait_ns: 1500000, left: 0.5 });
  assert.deepEqual(f.body, { name: 'mail', key: 'ann', rate: 5, burst: 10, interval_ms: 2000, tokens: 2 });
  assert.deepEqual(await taking, { allowed: false, wait: 1.5, left: 0.5 });
  const waiting = limiter.wait('ann');
  await agent.answer('limiter:take', { allowed: false, wait_ns: 1000000, left: 0 });
  await agent.answer('limiter:take', { allowed: true, left: 0 });
  assert.equal((await waiting).allowed, true);
  const hopeless = limiter.wait('ann', { within: 10 });
  await agent.answer('limiter:take', { allowed: false, wait_ns: 1e9, left: 0 });
  await assert.rejects(hopeless, code('E-DEADLINE'));

  const open = m.limiter('mail', { rate: 5, fail: 'open' });
  for (const [l, failure, allowed, rejected] of [[limiter, 'E-TABLE-FULL', false, true], [open, 'E-TABLE-FULL', true, false], [open, 'E-USAGE', false, true]]) {
    for (const how of ['take', 'allow']) {
      const asking = l[how]('ann');
      asking.catch(() => {});
      agent.fail(await agent.next('limiter:take'), failure);
      if (how === 'allow') assert.equal(await asking, allowed);
      else if (rejected) await assert.rejects(asking, code(failure));
      else assert.equal((await asking).error.code, failure);
    }
  }
  assert.throws(() => m.limiter('x', { rate: 1, fail: 'maybe' }), code('E-USAGE'));
});

test('lock: renewed while it is held, lost when it cannot be', async () => {
  const { m, agent } = await start();
  const acquiring = m.lock('l', { lease: 900 }).acquire();
  const f = await agent.answer('lock:acquire', { held: true, fence: 7, lease_ms: 900 });
  assert.ok(f.body.token.length >= 16 && f.body.wait_ms > 0 && f.body.lease_ms === 900, JSON.stringify(f.body));
  const held = await acquiring;
  assert.equal(held.fence, 7);
  for (let i = 0; i < 3; i++) assert.equal((await agent.answer('lock:renew', { held: true, fence: 7 })).body.token, f.body.token);
  assert.equal(held.lost.aborted, false);
  agent.fail(await agent.next('lock:renew'), 'E-NOT-OWNER');
  await until(() => held.lost.aborted);
  code('E-NOT-OWNER')(held.lost.reason);
  assert.equal(await held.release(), false);

  const silent = m.lock('l', { lease: 150 }).tryAcquire();
  await agent.answer('lock:acquire', { held: true, fence: 8 });
  const start8 = performance.now();
  const held8 = await silent;
  await until(() => held8.lost.aborted); // nobody answers its renewals
  const took = performance.now() - start8;
  assert.ok(took < 3000, `it was trusted for ${took} ms, its lease is 150`);
});

test('lock: given back once, and what is granted too late is given back', async () => {
  const { m, agent } = await start();
  const lock = m.lock('l');
  const running = lock.run((held) => held.fence * 2);
  const f = await agent.answer('lock:acquire', { held: true, fence: 3 });
  const released = await agent.answer('lock:release', {});
  assert.deepEqual(released.body, { name: 'l', token: f.body.token });
  assert.equal(await running, 6);

  const stop = new AbortController();
  const acquiring = lock.acquire({ signal: stop.signal });
  const g = await agent.next('lock:acquire');
  stop.abort();
  await assert.rejects(acquiring, { name: 'AbortError' });
  assert.equal((await agent.next('MUSTER_CANCEL')).id, g.id);
  assert.equal((await agent.next('lock:release')).body.token, g.body.token);

  const late = lock.acquire({ wait: 30 });
  late.catch(() => {});
  const end = Date.now() + 5000;
  for (let answered = false; !answered && Date.now() < end;) {
    const h = await agent.next('lock:acquire');
    agent.reply(h, { held: false, owner: 'api#2' });
    answered = await Promise.race([late.then(() => true, () => true), new Promise((r) => setTimeout(r, 40, false))]);
  }
  await assert.rejects(late, (e) => code('E-DEADLINE')(e) && /api#2/.test(e.message));
  for (const lease of [0, -1, NaN, 99, 86400001]) assert.throws(() => m.lock('l', { lease }), code('E-USAGE'));
});

test('lock: when it was waited for the lease is measured anew', async () => {
  const { m, agent } = await start();
  const acquiring = m.lock('l', { lease: 6000 }).acquire();
  const f = await agent.next('lock:acquire');
  await new Promise((resolve) => setTimeout(resolve, 700));
  agent.reply(f, { held: true, fence: 1 });
  const granted = performance.now();
  let inHand = false;
  acquiring.then(() => { inHand = true; });
  const renewal = await agent.next('lock:renew');
  assert.ok(performance.now() - granted < 1500, 'it was not renewed at once');
  assert.equal(inHand, false, 'in hand before it was sure that it is held');
  agent.fail(renewal, 'E-NOT-OWNER'); // its lease has ended meanwhile: it is asked for again
  assert.equal((await agent.next('lock:release')).body.token, f.body.token);
  await agent.answer('lock:acquire', { held: true, fence: 5 });
  assert.equal((await acquiring).fence, 5);
});

test('cache: one fill for all who ask, in order of use, no longer than it may', async () => {
  const { m, agent } = await start();
  const cache = m.cache('c', { max: 2 });
  const early = await cache.fill('early', () => 1); // nobody tells yet what is removed
  assert.deepEqual([early, cache.get('early')], [1, undefined]);
  assert.deepEqual((await agent.answer('cache:use', {})).body, { cache: 'c' });
  await turn();
  let fills = 0;
  const make = async (key) => {
    await turn();
    return key + ++fills;
  };
  assert.deepEqual(await Promise.all([cache.fill('a', make), cache.fill('a', make), cache.fill('a', make)]), ['a1', 'a1', 'a1']);
  cache.set('b', 'b');
  cache.get('a');
  cache.set('c', 'c');
  assert.deepEqual([cache.get('a'), cache.get('b'), cache.get('c')], ['a1', undefined, 'c']);
  cache.set('short', 1, 5);
  await until(() => cache.get('short') === undefined);
  assert.throws(() => cache.set('x', 1, -1), code('E-USAGE'));
  await assert.rejects(cache.fill('bad', () => { throw new Error('no'); }), /no/);
  assert.equal(await cache.fill('bad', () => 'well'), 'well');
});

test('cache: what is removed while it is being filled is not kept, and nobody joins that fill', async () => {
  const { m, agent } = await start();
  const cache = m.cache('c');
  await agent.answer('cache:use', {});
  await turn();
  for (const [op, body] of [['cache:del', { cache: 'c', key: 'k' }], ['cache:drop', { cache: 'c' }], ['gap', { missed: 1 }]]) {
    let end;
    const old = cache.fill('k', () => new Promise((resolve) => (end = resolve)));
    agent.tell(op, body);
    const fresh = cache.fill('k', () => 'new');
    end('old');
    assert.deepEqual([await old, await fresh, cache.get('k')], ['old', 'new', 'new'], op);
    agent.tell(op, body);
    assert.equal(cache.get('k'), undefined, op);
  }
  cache.set('k', 1);
  const deleting = cache.del('k');
  assert.equal(cache.get('k'), undefined);
  assert.deepEqual((await agent.answer('cache:del', {})).body, { cache: 'c', key: 'k' });
  await deleting;
  agent.tell('cache:del', { cache: 'unknown', key: 'k' });
});

test('settings change, and the heartbeat with them', async () => {
  let alive = true;
  const { m, agent } = await start({ alive: () => alive }, { heartbeat_ms: 50 });
  for (let i = 0; i < 3; i++) assert.deepEqual(await agent.next('heartbeat'), { cmd: 'MUSTER_OP', op: 'heartbeat' });
  alive = false;
  await turn();
  agent.frames.length = 0;
  await assert.rejects(agent.next('heartbeat', 60));
  alive = true;
  await agent.next('heartbeat');
  const changed = new Promise((resolve) => m.on('config', resolve));
  agent.tell('config:changed', { heartbeat_ms: 0, changes: ['ports.http 8000 → 9000'] });
  assert.deepEqual((await changed).changes, ['ports.http 8000 → 9000']);
  await turn();
  agent.frames.length = 0;
  await assert.rejects(agent.next('heartbeat', 40));
});

test('only muster can say what is muster\'s', async () => {
  const { m, agent } = await start();
  let heard = 0;
  m.on('config', () => heard++);
  agent.tell('config:changed', {}, { from: 'web#1' });
  agent.tell('commands:run', { name: 'x' }, { from: 'web#1', id: 3 });
  assert.equal((await agent.next('MUSTER_REPLY')).error.code, 'E-UNKNOWN-OP');
  assert.equal(heard, 0);
});

test('what cannot be understood does no harm', async () => {
  const { m, agent, wire, errors } = await start();
  wire.on.frame('', undefined);
  for (const f of [{ cmd: 'MUSTER_OP' }, { cmd: 'MUSTER_OP', op: 5 }, { cmd: 'MUSTER_REPLY' }, { cmd: 'MUSTER_REPLY', id: 'x' }, { cmd: 'MUSTER_CANCEL' },
    { cmd: 'MUSTER_CANCEL', id: 9 }, { cmd: 'MUSTER_FAILED' }, { cmd: 'MUSTER_OP', op: 'gap' }, { cmd: 'MUSTER_OP', op: 'cache:del', body: null },
    { cmd: 'MUSTER_OP', op: 'agent:new', body: null }, { cmd: 'MUSTER_OP', op: 'config:changed', body: 'x' }, { cmd: 'MUSTER_OP', op: 'nobody' },
    { cmd: 'MUSTER_OP', op: 'commands:run', id: 1, body: null }, { cmd: 'MUSTER_OP', op: '__proto__', id: 2 }, { cmd: 'MUSTER_OP', op: 'x', channel: '__proto__' }]) agent.send(f);
  assert.equal((await agent.next((f) => f.id === 1)).error.code, 'E-UNKNOWN-OP');
  assert.equal((await agent.next((f) => f.id === 2)).error.code, 'E-UNKNOWN-OP');
  assert.equal(m.counts.unreadable, 3);
  assert.equal(errors.length, 1);
});

test('the end of the channel fails what is under way, and all that comes', async () => {
  const { m, agent, wire } = await start();
  const asked = m.request('web', 'x');
  await agent.next('x');
  let ended = 0;
  m.on('end', () => ended++);
  wire.on.end();
  wire.on.end();
  await assert.rejects(asked, code('E-AGENT-UNREACHABLE'));
  await assert.rejects(m.request('web', 'x'), code('E-AGENT-UNREACHABLE'));
  assert.throws(() => m.send('web', 'x'), code('E-AGENT-UNREACHABLE'));
  m.ready();
  m.lifecycle('x');
  assert.equal(ended, 1);
  assert.equal(await m.limiter('x', { rate: 1, fail: 'open' }).allow(), true);
});

test('alone: the shared things are this process\'s own', async () => {
  const m = new Worker(null, {}, 'nobody has started it');
  assert.equal(m.alone, 'nobody has started it');
  for (const asking of [m.request('web', 'x'), m.gather('web', 'x').all(), m.hello(), m.kill()]) await assert.rejects(asking, code('E-ALONE'));
  assert.deepEqual([await m.tell('web', 'x'), await m.peers(), await m.commands()], [{ receivers: 0 }, [], []]);
  m.send('', 'x');
  m.ready();
  m.status('x');
  m.lifecycle('x');
  const seen = [];
  const cancel = await m.subscribe('room', (body, { from }) => { seen.push(body, from); });
  assert.deepEqual(await m.publish('room', { a: 1 }), { receivers: 0 });
  assert.deepEqual(await m.publish('room', { a: 1 }, { self: true }), { receivers: 1 });
  cancel();
  assert.deepEqual(await m.publish('room', 1, { self: true }), { receivers: 0 });
  assert.deepEqual(seen, [{ a: 1 }, 'muster']);
  for (const queue of ['', 'q', 'q']) await m.subscribe('jobs', (body) => { seen.push(queue + body); }, { queue });
  await m.publish('jobs', 1, { self: true });
  assert.deepEqual(seen.slice(2), ['1', 'q1']);

  const counter = m.counter('c');
  assert.deepEqual([await counter.add(5), await counter.add(-2), await counter.get()], [5, 3, 3]);
  await assert.rejects(counter.add(0.5), code('E-USAGE'));

  const limiter = m.limiter('l', { rate: 1, burst: 3, interval: 500 });
  const allowed = [];
  for (let i = 0; i < 4; i++) allowed.push((await limiter.take('k')).allowed);
  assert.deepEqual(allowed, [true, true, true, false]);
  const { wait } = await limiter.take('k');
  assert.ok(wait > 0 && wait <= 500, `${wait}`);
  assert.equal((await limiter.wait('k')).allowed, true);
  for (const [options, tokens] of [[{ rate: 0 }], [{ rate: -1 }], [{ rate: NaN }], [{ rate: 1, interval: 0 }], [{ rate: 1, burst: 0.5 }], [{ rate: 1 }, 2]]) {
    await assert.rejects(m.limiter('bad', options).take('', { tokens }), code('E-USAGE'), JSON.stringify(options));
  }

  const lock = m.lock('k', { lease: 2000 });
  const first = await lock.acquire();
  assert.equal(await lock.tryAcquire(), null);
  await assert.rejects(lock.acquire({ wait: 20 }), code('E-DEADLINE'));
  const order = [];
  const others = [1, 2].map((n) => lock.run(async () => { order.push(n); }));
  await new Promise((resolve) => setTimeout(resolve, 2600)); // it is kept alive over its lease
  assert.deepEqual([order, first.lost.aborted], [[], false]);
  await first.release();
  await Promise.all(others);
  assert.deepEqual(order, [1, 2]);
  await assert.rejects(m._primitive('lock:release', { name: 'k', token: first.token }), code('E-NOT-OWNER'));
  const stop = new AbortController();
  const kept = await lock.acquire();
  const waiting = lock.acquire({ signal: stop.signal });
  setImmediate(() => stop.abort());
  await assert.rejects(waiting, { name: 'AbortError' });
  await kept.release();
  assert.ok((await lock.tryAcquire()).fence > kept.fence);
});
