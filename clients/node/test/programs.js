// The programs that process.test.js runs under a scripted agent.
'use strict';
const muster = require('../muster.js');

const print = (...args) => console.log(...args.map((a) => (typeof a === 'string' ? a : JSON.stringify(a))));

const programs = {
  // asks once, says what it got, and has nothing more to do
  async ask() {
    const m = muster.open();
    if (m !== muster.open()) print('two workers');
    print(muster.isWorker(), await m.request('web#1', 'echo', { text: 'grüß' }));
  },
  // has handlers and subscriptions, which are no reason to live
  async idle() {
    const m = muster.open({ handlers: { echo: (body) => body } });
    await m.hello();
    await m.subscribe('room', () => {});
    m.cache('c');
  },
  // answers for as long as its timer lives; user code has the channel, too
  async serve() {
    const m = muster.open({ handlers: { echo: (body) => body, crash: () => setImmediate(() => { throw new TypeError('broken'); }) } });
    const timer = setInterval(() => {}, 1000);
    if (process.send) process.on('message', (message) => process.send({ got: message }));
    else m.on('message', (message) => m.send('', 'got', message));
    m.handle('stop', () => {
      clearInterval(timer);
      if (process.send) process.removeAllListeners('message');
    });
    m.on('end', () => print('end'));
    m.ready();
    m.status('warm');
  },
  crash() {
    muster.open();
    const deep = new RangeError('x'.repeat(3000));
    deep.stack = `RangeError: deep\n${'    at somewhere\n'.repeat(900)}`;
    setImmediate(() => { throw deep; });
  },
  reject() {
    muster.open();
    Promise.reject(new TypeError('nobody caught'));
  },
  notAnError() {
    muster.open();
    setImmediate(() => { throw { odd: true }; }); // eslint-disable-line no-throw-literal
  },
  caught() {
    muster.open();
    process.on('uncaughtException', () => print('dealt with'));
    setImmediate(() => { throw new Error('x'); });
  },
  crashWithHooks() {
    const m = muster.open({ stopTimeout: 300 });
    m.onStop(async (cause) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      print('hook', cause.message);
    });
    m.onStop(() => { throw new Error('this one fails'); });
    m.onStop(() => new Promise(() => {}));
    setImmediate(() => { throw new Error('with hooks'); });
  },
  async hooks() {
    const m = muster.open();
    m.onStop((cause) => print('hook', String(cause), String(m.draining.aborted)));
    setInterval(() => {}, 1000);
    m.send('', 'up');
  },
  natural() {
    muster.open().onStop((cause) => print('hook', String(cause)));
  },
  own() {
    const m = muster.open();
    m.onStop(() => print('hook'));
    process.on('SIGTERM', () => setTimeout(() => process.exit(7), 50));
    setInterval(() => {}, 1000);
    m.send('', 'up');
  },
  // starts itself as other processes, which muster does not know
  async children() {
    const { fork, spawn } = require('child_process');
    const m = muster.open();
    await m.hello();
    const env = { ...process.env, MUSTER_CHANNEL_FD: '3' };
    for (const begin of [() => fork(__filename, ['where'], { env, silent: true }), () => spawn(process.execPath, [__filename, 'where'], { env, stdio: ['ignore', 'pipe', 'inherit', 'pipe'] })]) {
      const child = begin();
      let said = '';
      child.stdout.on('data', (d) => (said += d));
      child.on('message', () => print('the child has spoken on its channel'));
      await new Promise((resolve) => child.on('close', resolve));
      print(said.trim());
    }
  },
  async where() {
    const m = muster.open();
    print(muster.isWorker(), m.alone, await m.counter('c').add(2));
  },
  async thread() {
    const { Worker } = require('worker_threads');
    const thread = new Worker(`const m = require(${JSON.stringify(require.resolve('../muster.js'))}).open(); console.log(m.alone);`, { eval: true });
    await new Promise((resolve) => thread.on('exit', resolve));
  },
  // sends more than the other side reads
  async flood() {
    const m = muster.open();
    const body = 'x'.repeat(200000);
    let code = '';
    for (let i = 0; i < 100 && !code; i++) {
      try {
        m.send('', 'flood', body);
      } catch (error) {
        code = error.code;
      }
    }
    print(code);
    process.exit(0);
  },
};

Promise.resolve(programs[process.argv[2]]()).catch((error) => print(error.code || '', error.message));
