// muster loads this file into a program that calls cluster.fork() itself, when its app
// says `node: {cluster: delegate}`: muster starts the forks (PROTOCOL-delegate.md). What
// the program sees of Node's `cluster` module stays as it is documented.
//
// It does nothing in a process that has no channel of muster's, in a worker thread and
// in the forks. While a fork lives the program lives, as with Node.js itself.
'use strict';

const LONG_MS = 2 ** 31 - 1; // for a timer that only keeps the process alive

/** forgetOptions keeps this file, the last option, out of the programs that this one starts. */
function forgetOptions() {
  const ours = /(^|\s)--require[\s=]+("([^"\\]|\\.)*\/delegate\.cjs"|\S*\/delegate\.cjs)\s*$/;
  const rest = (process.env.NODE_OPTIONS || '').replace(ours, '').trim();
  if (rest) process.env.NODE_OPTIONS = rest;
  else delete process.env.NODE_OPTIONS;
}

/** environment is the whole of it as text, as child_process makes it. */
function environment(extra) {
  const env = {};
  for (const [name, value] of Object.entries({ ...process.env, ...extra })) {
    if (value !== undefined) env[name] = String(value);
  }
  return env;
}

/** processClass makes the class of worker.process: what muster's fork looks like here. */
function processClass(tell) {
  const { EventEmitter } = require('events');
  const { PassThrough } = require('stream');
  return class ForkedProcess extends EventEmitter {
    constructor(id, argv, silent) {
      super();
      this.pid = undefined;
      this.connected = true;
      this.killed = false;
      this.exitCode = null;
      this.signalCode = null;
      this.spawnfile = argv[0];
      this.spawnargs = argv;
      this.stdin = null;
      this.stdout = silent ? new PassThrough() : null;
      this.stderr = silent ? new PassThrough() : null;
      this.stdio = [this.stdin, this.stdout, this.stderr];
      Object.defineProperty(this, 'id', { value: id });
    }

    send(msg, handle, options, callback) {
      const done = [handle, options, callback].find((arg) => typeof arg === 'function');
      if (msg === undefined) throw new TypeError('The "message" argument must be specified');
      if (!this.connected) {
        const error = Object.assign(new Error('Channel closed'), { code: 'ERR_IPC_CHANNEL_CLOSED' });
        process.nextTick(() => (done ? done(error) : this.emit('error', error)));
        return false;
      }
      return tell('send', this.id, { msg }, typeof handle === 'object' ? handle : undefined,
        typeof options === 'object' ? options : undefined, done);
    }

    kill(signal = 'SIGTERM') {
      if (this.exitCode !== null || this.signalCode !== null) return false;
      this.killed = true;
      tell('kill', this.id, { signal });
      return true;
    }

    disconnect() {
      tell('disconnect', this.id);
    }

    ref() {}

    unref() {}
  };
}

/** delegate replaces what the primary's half of the module does by frames to muster. */
function delegate(cluster) {
  const send = process.send;
  const forks = new Map(); // id → worker, until its channel and its process have ended
  let last = 0;
  let alive; // a timer while there are forks
  let waiting = []; // callbacks of cluster.disconnect

  const tell = (act, id, rest, handle, options, done) => send.call(
    process, { cmd: 'MUSTER_FORK', act, id, ...rest }, handle, options, done || (() => {}));
  const ForkedProcess = processClass(tell);

  const settle = () => {
    if (forks.size > 0 && !alive) alive = setInterval(() => {}, LONG_MS);
    if (forks.size === 0) alive = clearInterval(alive);
    if (Object.keys(cluster.workers).length > 0) return;
    const told = waiting;
    waiting = [];
    for (const f of told) f();
  };
  const forget = (worker) => {
    delete cluster.workers[worker.id];
    process.nextTick(settle);
  };
  const both = (event, worker, ...args) => {
    worker.emit(event, ...args);
    cluster.emit(event, worker, ...args);
  };
  const ended = (worker) => {
    if (worker.isConnected() || !worker.isDead()) return;
    forks.delete(worker.id);
    forget(worker);
  };
  const disconnected = (worker) => {
    if (!worker.process.connected) return;
    worker.process.connected = false;
    worker.exitedAfterDisconnect = !!worker.exitedAfterDisconnect;
    ended(worker);
    worker.state = 'disconnected';
    worker.process.emit('disconnect');
    both('disconnect', worker);
  };
  const exited = (worker, { code = null, signal = null }) => {
    const { process: child } = worker;
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.exitCode = code;
    child.signalCode = signal;
    worker.exitedAfterDisconnect = !!worker.exitedAfterDisconnect;
    ended(worker);
    worker.state = 'dead';
    for (const stream of [child.stdout, child.stderr]) if (stream) stream.end();
    child.emit('exit', code, signal);
    both('exit', worker, code, signal);
    child.emit('close', code, signal);
  };

  const acts = {
    // A successor of muster's agent says again what may not have come.
    forked(worker, { pid }) {
      if (worker.process.pid) return;
      worker.process.pid = pid;
      worker.process.emit('spawn');
    },
    failed(worker, { code, text }) {
      const error = Object.assign(new Error(`spawn: ${text}`), { code, syscall: 'spawn' });
      if (worker.listenerCount('error') > 0) worker.process.emit('error', error);
      else process.emitWarning(error);
      disconnected(worker);
      exited(worker, { code: 1 });
    },
    online(worker) {
      if (worker.state !== 'none') return;
      worker.state = 'online';
      both('online', worker);
    },
    listening(worker, { address, port, addressType, fd }) {
      worker.state = 'listening';
      both('listening', worker, { addressType, address, port, fd });
    },
    message(worker, { msg }, handle) {
      worker.process.emit('message', msg, handle);
    },
    output(worker, { fd, data }) {
      const stream = fd === 2 ? worker.process.stderr : worker.process.stdout;
      if (stream) stream.write(Buffer.from(data, 'base64'));
    },
    leaving(worker) {
      worker.exitedAfterDisconnect = true;
    },
    disconnect: disconnected,
    exit: exited,
  };
  process.on('internalMessage', (message, handle) => {
    if (!message || message.cmd !== 'NODE_MUSTER') return;
    const worker = forks.get(message.id);
    if (worker && Object.hasOwn(acts, message.act)) acts[message.act](worker, message, handle);
    else if (handle && handle.close) handle.close();
  });

  cluster.fork = function(env) {
    cluster.setupPrimary();
    const { exec, args, execArgv, cwd, silent, uid, gid, serialization, inspectPort } = cluster.settings;
    const id = ++last;
    const argv = [process.execPath, ...execArgv, exec, ...args].map(String);
    const child = new ForkedProcess(id, argv, silent);
    const worker = new cluster.Worker({ id, process: child });
    worker.on('message', (message, handle) => cluster.emit('message', worker, message, handle));
    cluster.workers[id] = worker;
    forks.set(id, worker);
    settle();
    const policy = cluster.schedulingPolicy === cluster.SCHED_NONE ? 'none' : 'rr';
    const inspect = typeof inspectPort === 'function' ? inspectPort() : inspectPort;
    tell('fork', id, { argv, env: environment(env), cwd: cwd || process.cwd(), silent: !!silent,
      policy, uid, gid, serialization, inspect });
    process.nextTick(() => cluster.emit('fork', worker));
    return worker;
  };
  cluster.disconnect = function(callback) {
    if (typeof callback === 'function') waiting.push(callback);
    for (const worker of Object.values(cluster.workers)) {
      if (worker.isConnected()) worker.disconnect();
    }
    process.nextTick(settle);
  };
  cluster.Worker.prototype.disconnect = function() {
    this.exitedAfterDisconnect = true;
    this.process.disconnect();
    forget(this);
    return this;
  };
  cluster.Worker.prototype.destroy = function(signal) {
    this.process.kill(signal || 'SIGTERM');
  };
  require('module').syncBuiltinESMExports();
}

function start() {
  const { isMainThread } = require('worker_threads');
  if (!isMainThread) return;
  forgetOptions();
  if (!process.channel || typeof process.send !== 'function') return;
  const cluster = require('cluster');
  if (cluster.isPrimary) delegate(cluster);
}

try {
  start();
} catch (error) { // better no forks of muster's than no program
  process.emitWarning(`muster cannot be the primary of this program: ${error.message}`);
}
