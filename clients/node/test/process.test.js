'use strict';
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { Child } = require('./agent.js');

const kinds = ['cluster', 'socket', 'ipc'];

/** each runs a test with the program on every kind of channel. */
function each(title, program, f, env) {
  for (const kind of kinds) {
    test(`${title} (${kind})`, { timeout: 60000 }, async (t) => {
      const child = new Child(kind, program, env);
      t.after(() => child.kill());
      try {
        await f(child, kind, t);
      } catch (error) {
        error.message += `\nstdout: ${child.out}\nstderr: ${child.err}`;
        throw error;
      }
    });
  }
}

each('a program that asks lives until it is answered, and no longer', 'ask', async (child, kind) => {
  await child.welcome();
  const f = await child.next('echo');
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(child.child.exitCode, null, 'it has ended before the answer');
  child.reply(f, `${f.body.text}: schön`, { from: 'web#1' });
  // Without muster's preload Node.js itself keeps a cluster worker on its channel.
  if (kind === 'cluster') child.child.disconnect();
  assert.deepEqual(await child.ended, { code: 0, signal: null });
  assert.equal(child.out, 'true grüß: schön\n');
});

for (const kind of ['socket', 'ipc']) {
  test(`handlers and subscriptions do not keep a program alive (${kind})`, { timeout: 60000 }, async (t) => {
    const child = new Child(kind, 'idle');
    t.after(() => child.kill());
    child.welcome().catch(() => {});
    child.answer('subscribe', {}).catch(() => {});
    assert.deepEqual(await child.ended, { code: 0, signal: null }, child.err);
  });
}

each('user code has the channel, too', 'serve', async (child, kind) => {
  await child.welcome();
  assert.deepEqual(await child.next('MUSTER_READY'), { cmd: 'MUSTER_READY' });
  assert.deepEqual(await child.next('MUSTER_STATUS'), { cmd: 'MUSTER_STATUS', text: 'warm' });
  for (const message of [{ hello: 1 }, 'text', { cmd: 'mine' }]) {
    child.send(message);
    child.tell('echo', { big: 'ü'.repeat(100000) }, { id: 9, from: 'web#1' });
    assert.equal((await child.next('MUSTER_REPLY')).body.big.length, 100000);
    if (kind === 'socket') assert.deepEqual((await child.next('got')).body, message);
    else {
      while (child.messages.length === 0) await new Promise((resolve) => child.child.once('message', resolve));
      assert.deepEqual(child.messages.shift(), { got: message });
    }
  }
  assert.deepEqual(child.messages, []);
  if (kind === 'socket') {
    child.send({ cmd: 'MUSTER_PING', id: 4 });
    assert.deepEqual(await child.next('MUSTER_PONG'), { cmd: 'MUSTER_PONG', id: 4 });
    child.socket.write('\n{"torn');
    child.socket.write('":\n{"cmd":"MUSTER_OP","op":"ec');
    child.socket.write('ho","id":10,"body":1}\n{"cmd":"MUSTER_OP","op":"stop"}\n');
    assert.equal((await child.next('MUSTER_REPLY')).body, 1);
  } else child.tell('stop');
  if (kind === 'cluster') child.child.disconnect();
  assert.equal((await child.ended).code, 0);
  if (kind === 'socket') assert.match(child.err, /a frame cannot be read/);
});

each('the end of the channel is told', 'serve', async (child, kind) => {
  await child.welcome();
  if (kind === 'socket') child.socket.destroy();
  else child.child.disconnect();
  while (!child.out.includes('end')) await new Promise((resolve) => child.child.stdout.once('data', resolve));
});

each('a crash is told with all its text before the process ends', 'crash', async (child) => {
  child.welcome().catch(() => {});
  const ended = child.ended;
  const { body } = await child.next('crash');
  assert.deepEqual([body.error.length, body.error_type, body.stack.slice(0, 16), body.stack.length > 13000], [3000, 'RangeError', 'RangeError: deep', true]);
  assert.equal((await ended).code, 1);
  assert.match(child.err, /RangeError: deep/);
});

each('so is a promise that nobody caught, and what is no error', 'reject', async (child) => {
  const { body } = await child.next('crash');
  assert.deepEqual([body.error, body.error_type], ['nobody caught', 'TypeError']);
  assert.match(body.stack, /programs\.js/);
  assert.equal((await child.ended).code, 1);
  const odd = new Child('socket', 'notAnError');
  const crash = await odd.next('crash');
  assert.deepEqual([crash.body.error, crash.body.error_type], ['{ odd: true }', 'object']);
  assert.equal((await odd.ended).code, 1);
});

each('an error that the program deals with is no crash', 'caught', async (child, kind) => {
  await child.welcome();
  if (kind === 'cluster') {
    while (!child.out.includes('dealt')) await new Promise((resolve) => child.child.stdout.once('data', resolve));
    child.child.disconnect();
  }
  assert.equal((await child.ended).code, 0);
  assert.equal(child.out, 'dealt with\n');
  assert.deepEqual(child.frames, []);
});

each('hooks run before a crash ends the process; one that hangs does not stop it', 'crashWithHooks', async (child) => {
  assert.equal((await child.next('crash')).body.error, 'with hooks');
  assert.deepEqual(await child.ended, { code: 1, signal: null });
  assert.equal(child.out, 'hook with hooks\n');
  assert.match(child.err, /Uncaught Error: with hooks[^]*this one fails[^]*not ended within 300 ms/);
});

each('hooks run at a stop signal, which then does what it always does', 'hooks', async (child) => {
  await child.next('up');
  child.child.kill('SIGTERM');
  assert.deepEqual(await child.ended, { code: null, signal: 'SIGTERM' });
  assert.equal(child.out, 'hook null true\n');
});

each('a program that listens to the signal itself decides on its end', 'own', async (child) => {
  await child.next('up');
  child.child.kill('SIGTERM');
  assert.deepEqual(await child.ended, { code: 7, signal: null });
  assert.equal(child.out, 'hook\n');
});

each('hooks run at the natural end', 'natural', async (child, kind) => {
  await child.welcome();
  if (kind === 'cluster') child.child.disconnect();
  await child.ended;
  if (kind !== 'cluster') assert.equal(child.out, 'hook null\n'); // there Node.js calls process.exit
});

each('what a worker starts is no worker', 'children', async (child) => {
  await child.welcome();
  child.child.once('message', () => {});
  while (child.out.split('\n').length < 3) await new Promise((resolve) => child.child.stdout.once('data', resolve));
  const line = 'false a worker of muster has started this process, and muster knows only the worker 2\n';
  assert.equal(child.out, line + line);
});

test('a thread, a switched off SDK and a process of nobody\'s run alone', { timeout: 60000 }, async () => {
  const thread = new Child('socket', 'thread');
  await thread.ended;
  assert.equal(thread.out, 'this is a thread; the main thread has the channel\n', thread.err);
  const off = new Child('socket', 'where', { MUSTER_SDK: 'off' });
  await off.ended;
  assert.equal(off.out, 'false MUSTER_SDK is off 2\n', off.err);
  const fork = new Child('ipc', 'where', { MUSTER_FORK: '1' }); // of node: delegate
  await fork.ended;
  assert.match(fork.out, /^false it is a fork of a program that is its own primary.* 2\n$/, fork.err);
  const env = { ...process.env };
  for (const name of Object.keys(env)) if (name.startsWith('MUSTER_')) delete env[name];
  const out = execFileSync(process.execPath, [path.join(__dirname, 'programs.js'), 'where'], { env, encoding: 'utf8' });
  assert.equal(out, 'false it was not started by muster 2\n');
});

test('what muster does not read is bounded', { timeout: 60000 }, async (t) => {
  const child = new Child('socket', 'flood');
  t.after(() => child.kill());
  child.socket.pause();
  await new Promise((resolve) => child.child.on('exit', resolve));
  while (!child.out.includes('\n')) await new Promise((resolve) => child.child.stdout.once('data', resolve));
  assert.equal(child.out, 'E-CHANNEL-FULL\n', child.err);
  child.socket.destroy();
});

test('an ES module can import it', () => {
  const url = `file://${path.join(__dirname, '..', 'muster.js')}`;
  const text = `import muster, { open, isWorker, MusterError } from ${JSON.stringify(url)}; console.log(open() === muster.open(), isWorker(), MusterError.name)`;
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', text], { encoding: 'utf8' });
  assert.equal(out, 'true false MusterError\n');
});

/** talk sends lines to a console and returns what came until `end` did. */
function talk(place, lines, end) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(place);
    let got = '';
    socket.setEncoding('utf8');
    socket.on('error', reject);
    socket.on('data', (text) => {
      got += text;
      if (end && got.includes(end)) socket.end();
    });
    socket.on('close', () => resolve(got));
    socket.write(lines);
  });
}

each('a console, on order, on a socket that is its owner\'s alone', 'serve', async (child, kind, t) => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'muster-'));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  await child.welcome({ console_dir: dir });
  child.tell('console:open', {}, { id: 1 });
  const reply = await child.next('MUSTER_REPLY');
  assert.ok(reply.body, JSON.stringify(reply));
  const { path: at } = reply.body;
  assert.equal(path.dirname(at), dir);
  assert.equal(fs.statSync(at).mode & 0o777, 0o600);
  child.tell('console:open', {}, { id: 2 });
  assert.equal((await child.next('MUSTER_REPLY')).body.path, at);
  assert.match(await talk({ path: at }, '40 + 2\nmuster.name\n', 'web#0\''), /web#0> 42\n[^]*'web#0'/);
  child.tell('console:close', {}, { id: 3 });
  await child.next('MUSTER_REPLY');
  assert.equal(fs.existsSync(at), false);
  child.tell('console:open', {}, { id: 4 });
  const again = (await child.next('MUSTER_REPLY')).body.path;
  assert.match(await talk({ path: again }, '6 * 7\n', '42'), /42/);
});

test('a console on a port wants its token', { timeout: 60000 }, async (t) => {
  const child = new Child('socket', 'serve');
  t.after(() => child.kill());
  const probe = net.createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => probe.once('listening', resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  await child.welcome();
  child.tell('console:open', {}, { id: 1 });
  assert.equal((await child.next('MUSTER_REPLY')).error.code, 'E-CONSOLE');
  child.tell('config:changed', { console_port: port });
  child.tell('console:open', {}, { id: 2 });
  const { address, token } = (await child.next('MUSTER_REPLY')).body;
  assert.equal(address, `127.0.0.1:${port}`);
  assert.match(await talk({ host: '127.0.0.1', port }, `${token}\n1 + 41\n`, '42'), /42/);
  for (const wrong of [`${'0'.repeat(32)}\n1 + 41\n`, '\n', `${'x'.repeat(300)}`]) {
    const got = await talk({ host: '127.0.0.1', port }, wrong);
    assert.equal(got, 'the token is not the right one\n');
  }
});
