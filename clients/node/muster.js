// One end of muster's operations for a Node.js program: it asks other processes,
// answers them, publishes and subscribes, and shares limiters, locks, counters and
// caches with them. README.md beside it is the manual; muster.d.ts has the types.
//
//   Worker   what the program holds: requests, handlers, subscriptions, primitives
//   wire     how frames travel: Node's own channel, or the socket MUSTER_CHANNEL_FD
//   Local    the primitives of a program that runs without muster
//
// Invariants: the program is never kept alive by this file, but while it waits for an
// answer; nothing here touches process.on('message') or a frame that is not muster's;
// ids grow; what waits to be sent and to be dealt with is bounded.
'use strict';

const { AsyncLocalStorage } = require('async_hooks');
const { randomBytes, timingSafeEqual } = require('crypto');
const { EventEmitter } = require('events');
const fs = require('fs');
const { inspect } = require('util');

const BODY_MAX = 1 << 20; // bytes of JSON
const NAME_MAX = 200; // bytes
const HOPS_MAX = 16; // handlers that a message may come through
const WITHIN_MS = 30000; // a request waits so long if nothing is said
const WITHIN_MAX_MS = 24 * 3600 * 1000;
const SLACK_MS = 1000; // beyond muster's own deadline
const PRIMITIVE_MS = 5000; // for an answer that needs no waiting
const ASKED_MAX = 1024; // requests under way
const ANSWERED_MAX = 256; // handlers that run at a time
const QUEUED_MAX = 1024; // messages that wait for a subscription
const WAITING_FRAMES = 1024; // not yet written, likewise:
const WAITING_BYTES = 4 << 20;
const LINE_MAX = 16 << 20;
const LEASE_MS = 10000;
const LEASE_MIN_MS = 100;
const STACK_MAX = 16 << 10; // characters of a crash notice's stack
const STOP_MS = 10000; // for the hooks of onStop
const OWN_OPS = ['commands:run', 'console:open', 'console:close'];
const DELAY_MAX = 2 ** 31 - 1; // of a timer
const SWEEP_MS = 250; // how often it is looked for requests that muster has forgotten
const QUICK_FIELDS = 16; // of a body whose size is told without its text

const inHandler = new AsyncLocalStorage(); // the hops that a message sent now has
const kSize = Symbol('size'); // of a frame, roughly; JSON leaves it out
const kOpen = Symbol.for('muster.worker.1'); // one of a process, however often this file is loaded

/** MusterError is every error of this file, and of a reply: `code` (E-…) is stable. */
class MusterError extends Error {
  constructor(code, text, fix) {
    super(text);
    this.name = 'MusterError';
    this.code = code;
    if (fix) this.fix = fix;
  }
}

const usage = (text, fix) => new MusterError('E-USAGE', text, fix);
const now = () => performance.now();
const bytes = (text) => Buffer.byteLength(text);
const nothing = () => {};

function checkName(what, name) {
  if (typeof name !== 'string' || name === '') throw usage(`${what} has no name`, 'give it a name');
  if (name.length * 3 > NAME_MAX && bytes(name) > NAME_MAX) throw usage(`the name of ${what} has ${bytes(name)} bytes, ${NAME_MAX} are allowed`, 'choose a shorter name');
}

/** sizeOf is the most that a value takes in JSON; Infinity: it is neither text nor number, or long. */
function sizeOf(value) {
  switch (typeof value) {
    case 'number': case 'boolean': return 24;
    case 'string': return value.length <= 4096 ? value.length * 6 + 2 : Infinity;
    default: return value === null ? 4 : Infinity;
  }
}

/** quickSize is sizeOf for plain objects of such values, too. */
function quickSize(body) {
  if (typeof body !== 'object' || body === null) return sizeOf(body);
  if (Object.getPrototypeOf(body) !== Object.prototype || body.toJSON !== undefined) return Infinity;
  let size = 2;
  let left = QUICK_FIELDS;
  for (const key in body) {
    if (--left < 0) return Infinity;
    size += key.length * 6 + 4 + sizeOf(body[key]);
  }
  return size;
}

/** checkBody refuses what cannot be sent, before anything is, and tells how much it is about. */
function checkBody(body) {
  if (body === undefined) return 0;
  const most = quickSize(body);
  if (most <= BODY_MAX) return most;
  let text;
  try {
    text = JSON.stringify(body);
  } catch (error) {
    throw usage(`the body cannot be written as JSON: ${error.message}`, 'send plain values');
  }
  if (text === undefined) throw usage(`a ${typeof body} cannot be written as JSON`, 'send plain values');
  const size = text.length * 3 <= BODY_MAX ? text.length : bytes(text);
  if (size > BODY_MAX) throw new MusterError('E-TOO-LARGE', `the body has ${size} bytes of JSON, ${BODY_MAX} are allowed`, 'send less at a time, or the name of a file');
  return size;
}

/**
 * envelope reads the ways to say what is sent: an op and its body; an object with its
 * op within, or the JSON text of one, whose other fields are the body.
 */
function envelope(op, body, options) {
  if (typeof op === 'string' && /^\s*\{/.test(op)) {
    try {
      op = JSON.parse(op);
    } catch (error) {
      throw usage(`the message is no JSON object: ${error.message}`, 'write it like {"op": "chat:say", "text": "hello"}');
    }
  }
  if (op !== null && typeof op === 'object') {
    options = body;
    ({ op, ...body } = op);
    if (Object.keys(body).length === 0) body = undefined;
  }
  checkName('the op', op);
  return { op, body, options: options || {} };
}

/** said makes an error of what a reply says. */
const said = ({ code, text, fix }, from) => Object.assign(
  new MusterError(String(code || 'E-INTERNAL'), String(text || code), fix), from ? { from } : {});

/** faultOf is how an error is written in a reply. */
function faultOf(error) {
  const code = error && typeof error.code === 'string' && error.code.startsWith('E-') ? error.code : 'E-HANDLER';
  const text = error instanceof Error ? error.message : inspect(error);
  return { code, text: text || code, ...(error && typeof error.fix === 'string' ? { fix: error.fix } : {}) };
}

/** repeatable says that an op may be sent again to the next agent: muster knows if it was done. */
const repeatable = (op) => /^(limiter|counter|lock|cache):/.test(op) || harmless(op);

/** harmless says that doing an op twice is doing it once. */
function harmless(op) {
  return ['hello', 'peers', 'subscribe', 'unsubscribe', 'listen', 'unlisten', 'commands', 'commands:add',
    'commands:remove', 'status', 'counter:get'].includes(op) || /^(lock|cache):/.test(op);
}

/** sleep waits; it does not outlive its signal. */
function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal && signal.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      if (signal) signal.removeEventListener('abort', stop);
      resolve();
    }, Math.min(Math.max(ms, 1), DELAY_MAX));
    if (signal) signal.addEventListener('abort', stop, { once: true });
  });
}

// ---------------------------------------------------------------- wires

/**
 * Bounded counts what a wire has not written yet. A full wire refuses requests, never a
 * crash notice or a reply.
 */
class Bounded {
  frames = 0;
  bytes = 0;

  check(size) {
    if (this.frames >= WAITING_FRAMES || this.bytes + size > WAITING_BYTES) {
      throw new MusterError('E-CHANNEL-FULL', 'muster does not read as fast as this process sends', 'send less, or later');
    }
  }

  add(size) {
    this.frames++;
    this.bytes += size;
    return () => {
      this.frames--;
      this.bytes -= size;
    };
  }
}

/** NodeWire is the channel that Node.js itself has opened (process.send). */
class NodeWire {
  waiting = new Bounded();
  #send = process.send;
  #free = true; // little waits in Node.js's own queue, so it need not be counted

  start({ frame, end, draining }) {
    process.on('internalMessage', (message) => {
      const cmd = message && message.cmd;
      if (typeof cmd !== 'string') return;
      if (cmd === 'NODE_MUSTER_REPLY') frame('MUSTER_REPLY', message);
      else if (cmd.startsWith('NODE_MUSTER_')) frame(cmd.slice(5), message);
      else if (cmd === 'NODE_CLUSTER' && message.act === 'disconnect') draining();
    });
    const cluster = require('cluster');
    if (cluster.isWorker && cluster.worker) {
      cluster.worker.once('disconnect', end);
      return;
    }
    process.once('disconnect', end);
    if (process.channel && process.channel.unrefCounted) process.channel.unrefCounted(); // what the line before has added
  }

  get open() {
    return process.connected;
  }

  send(frame, size) {
    const written = this.#free ? nothing : this.waiting.add(size);
    this.#free = this.#send.call(process, frame, undefined, undefined, written) === true;
  }
}

/** SocketWire is the descriptor MUSTER_CHANNEL_FD: lines of JSON. */
class SocketWire {
  waiting = new Bounded();
  open = true;
  #socket;
  #part = [];
  #length = 0;
  #free = true; // as with NodeWire

  constructor(fd) {
    const { Socket } = require('net');
    this.#socket = new Socket({ fd, readable: true, writable: true });
    this.#socket.setEncoding('utf8');
    this.#socket.unref();
  }

  start({ frame, message, end }) {
    const over = () => {
      if (!this.open) return;
      this.open = false;
      this.#socket.destroy();
      end();
    };
    this.#socket.on('error', over).on('end', over).on('close', over);
    this.#socket.on('data', (text) => {
      let from = 0;
      for (let at; (at = text.indexOf('\n', from)) >= 0; from = at + 1) {
        const line = this.#part.join('') + text.slice(from, at);
        this.#part = [];
        this.#length = 0;
        if (line !== '') this.#line(line, frame, message);
      }
      if (from === text.length) return;
      this.#part.push(text.slice(from));
      this.#length += text.length - from;
      if (this.#length > LINE_MAX) over();
    });
  }

  #line(line, frame, message) {
    let value;
    try {
      value = JSON.parse(line);
    } catch {
      return frame('', undefined);
    }
    const cmd = value !== null && typeof value === 'object' ? value.cmd : undefined;
    if (typeof cmd !== 'string' || !/^(NODE|MUSTER)_./.test(cmd)) return message(value);
    if (cmd === 'MUSTER_PING') return this.send({ cmd: 'MUSTER_PONG', id: value.id }, 0);
    frame(cmd.startsWith('NODE_') ? cmd.slice(5) : cmd, value);
  }

  send(frame, size) {
    if (!this.open) return;
    const written = this.#free ? nothing : this.waiting.add(size);
    this.#free = this.#socket.write(JSON.stringify(frame) + '\n', written);
  }
}

// ---------------------------------------------------------------- requests

/** Gathering is what gather returns: an async iterable, and a promise of all with `all()`. */
class Gathering {
  #worker;
  #frame;
  #options;

  constructor(worker, frame, options) {
    this.#worker = worker;
    this.#frame = frame;
    this.#options = options;
  }

  /** all waits for the end: { answers, asked, replied, missing }. */
  async all() {
    const answers = [];
    for await (const answer of this) if (!answer.missing) answers.push(answer);
    return { answers, asked: this.asked, replied: this.replied, missing: this.missing };
  }

  async* [Symbol.asyncIterator]() {
    const line = [];
    let ring = () => {};
    let last;
    const ask = new AbortController();
    const { signal } = this.#options;
    const stop = () => ask.abort(signal.reason);
    if (signal) signal.addEventListener('abort', stop, { once: true });
    if (signal && signal.aborted) stop();
    this.#worker._ask({ ...this.#frame }, { ...this.#options, signal: ask.signal, more: (f) => {
      line.push(f);
      ring();
    } }).then((body) => (last = { body: body || {} }), (error) => (last = { error })).then(() => ring());
    try {
      for (;;) {
        while (line.length > 0) yield answerOf(line.shift());
        if (last) break;
        await new Promise((resolve) => (ring = resolve));
      }
    } finally {
      ask.abort(new MusterError('E-INTERRUPTED', 'nobody waits for more answers'));
      if (signal) signal.removeEventListener('abort', stop);
    }
    if (last.error) throw last.error;
    const { asked = 0, replied = 0, missing = {} } = last.body;
    Object.assign(this, { asked, replied, missing });
    for (const [from, code] of Object.entries(missing)) {
      yield { from, missing: true, error: new MusterError(code, `${from} has not answered (${code})`) };
    }
  }
}

function answerOf(f) {
  return { from: f.from, pid: f.pid, body: f.body, error: f.error ? said(f.error, f.from) : undefined };
}

/** Request is what a handler gets beside the body. */
class Request {
  #abort;
  #over;

  constructor(f) {
    this.op = f.op;
    this.from = f.from || 'muster';
    this.pid = f.pid;
    this.channel = f.channel;
    this.within = f.within;
    this.asked = f.id !== undefined; // a reply is waited for
    this.until = f.within > 0 ? now() + f.within : undefined;
  }

  /** signal is aborted when the asker does not wait any more. */
  get signal() {
    if (this.#abort) return this.#abort.signal;
    this.#abort = new AbortController();
    if (this.#over) this.#abort.abort(this.#over);
    else if (this.until !== undefined) {
      const late = () => this.end(new MusterError('E-DEADLINE', `${this.from} does not wait for ${this.op} any more`));
      this.timer = setTimeout(late, Math.min(Math.max(1, this.until - now()), DELAY_MAX));
      this.timer.unref();
    }
    return this.#abort.signal;
  }

  end(reason) {
    this.#over = reason;
    if (this.#abort) this.#abort.abort(reason);
  }

  done() {
    clearTimeout(this.timer);
  }
}

/** Worker is this process's end of operations. Events: gap, agent, config, end, message. */
class Worker extends EventEmitter {
  #wire;
  #options;
  #log;
  #local;
  #next = Date.now() * 1000;
  #asked = new Map(); // id → request under way, in the order they left
  #wanted = 0; // of them that keep the process alive
  #sweeper; // looks for late ones while there are any
  #sweeps = 0;
  #answering = new Map(); // id → Request
  #running = 0; // handlers
  #handlers = new Map(); // op → functions, the last one answers
  #listeners = [];
  #channels = new Map(); // channel → { queue, all }
  #commands = new Map();
  #caches = new Map(); // name → Set of Cache
  #hello;
  #beat;
  #console;
  #stop;
  #over;
  #counts = { unreadable: 0, late: 0, dropped: 0 };
  #draining = new AbortController();

  /** A program calls open(); wire is null for a process that runs alone, and why says why it does. */
  constructor(wire, options = {}, why = '') {
    super();
    this.#wire = wire;
    this.#options = options;
    this.#log = options.log || ((...args) => console.error('muster:', ...args));
    this.#stop = new Stop(this, options, this.#draining, this.#log);
    this.alone = wire ? '' : why || 'it was not started by muster';
    this.app = process.env.MUSTER_APP || '';
    for (const [op, f] of Object.entries(options.handlers || {})) this.handle(op, f);
    if (!wire) {
      this.#local = new Local();
      return;
    }
    wire.start({
      frame: (cmd, f) => this.#frame(cmd, f),
      message: (value) => this.emit('message', value),
      draining: () => this.#draining.abort(new MusterError('E-INTERRUPTED', 'muster has told this worker to leave')),
      end: () => this.#end(),
    });
    this.#sayHello();
    watchForCrash(this);
  }

  /** #sayHello is the first word to every agent. Its answer is waited for as long as it takes. */
  #sayHello() {
    const body = { sdk: this.#options.sdk || 'node/1' };
    this.#hello = inHandler.exit(() => this._ask(this.#op('', 'hello', body),
      { within: WITHIN_MAX_MS, idle: true, at: (welcome) => this.#welcomed(welcome) }));
    this.#hello.catch((error) => {
      if (!this.#over) this.#log('this process takes no part in operations:', error.message);
    });
  }

  /** hello waits for muster's welcome: who this process is. Nothing else has to wait for it. */
  async hello() {
    if (this.alone) throw this.#aloneError('hello');
    const alive = setInterval(() => {}, DELAY_MAX);
    try {
      return await this.#hello;
    } finally {
      clearInterval(alive);
    }
  }

  #welcomed(welcome) {
    if (welcome === null || typeof welcome !== 'object') return;
    this.welcome = welcome;
    this.name = welcome.name;
    this.app = welcome.app || '';
    this.#settings(welcome);
  }

  #aloneError(op) {
    return new MusterError('E-ALONE', `${op} needs other processes, and this one has none: ${this.alone}`,
      'start it by `muster run` or `muster up`');
  }

  // ------------------------------------------------------------ asking

  /** request asks one process that `to` means ("": muster) and waits for its reply. */
  request(to, ...message) {
    try {
      const { op, body, options } = envelope(...message);
      const frame = this.#op(to, op, body);
      return !this.alone || to ? this._ask(frame, options) : this.#askAlone(op, body);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** gather asks all that `to` means. */
  gather(to, ...message) {
    const { op, body, options } = envelope(...message);
    this.#named(to, 'asked');
    return new Gathering(this, { ...this.#op(to, op, body), all: true }, options);
  }

  /** tell tells all that `to` means, and says how many got it: { receivers, missed }. */
  async tell(to, ...message) {
    const { op, body } = envelope(...message);
    this.#named(to, 'told');
    const frame = { ...this.#op(to, op, body), all: true };
    if (this.alone) return { receivers: 0 };
    return this._ask(frame, { within: -1 });
  }

  /** send tells one process that `to` means ("": muster and its listeners), and does not wait. */
  send(to, ...message) {
    const { op, body } = envelope(...message);
    const frame = this.#op(to, op, body);
    if (!this.alone) this.#put(frame);
  }

  /** peers lists who `to` means, ready or not. */
  async peers(to = '') {
    return this.alone ? [] : this.request('', 'peers', { to });
  }

  #named(to, what) {
    if (typeof to !== 'string' || to === '') throw usage(`nobody is named to be ${what}`, 'name a selector: all, web, role:worker …');
  }

  /** #op makes a frame, without an id. */
  #op(to, op, body) {
    if (to !== undefined && to !== null && typeof to !== 'string') throw usage('to is no text', 'name a selector: web#1, web, tag:edge; "" for muster');
    const size = checkBody(body);
    const hops = inHandler.getStore() || 0;
    if (hops > HOPS_MAX) throw new MusterError('E-TOO-DEEP', `${op} was sent from within ${hops} handlers of each other's messages`);
    return { cmd: 'MUSTER_OP', op, id: undefined, to: to || undefined, all: undefined, within: undefined,
      hops: hops || undefined, again: undefined, body, [kSize]: size + 128 };
  }

  #put(frame, must = false) {
    if (this.#over) throw this.#over;
    const size = frame[kSize] || 128;
    if (!must) this.#wire.waiting.check(size);
    this.#wire.send(frame, size);
  }

  /**
   * _ask sends a request; the frame is its own from now on. While it is under way the
   * process lives, as somebody waits for the answer; not when it is `idle`, for those of
   * this file's own. `at` has the answer at once, before the frames that follow it.
   */
  _ask(frame, { within = WITHIN_MS, signal, idle = false, more, at } = {}) {
    if (this.alone) return Promise.reject(this.#aloneError(frame.op));
    if (signal && signal.aborted) return Promise.reject(signal.reason);
    if (!(within > 0) && within !== -1) return Promise.reject(usage(`within is ${within}`, 'write milliseconds, above 0'));
    if (this.#asked.size >= ASKED_MAX && !idle) {
      return Promise.reject(new MusterError('E-TABLE-FULL', `${this.#asked.size} requests are under way already`, 'wait for replies before asking more'));
    }
    frame.id = ++this.#next;
    frame.within = within === -1 ? -1 : Math.min(Math.ceil(within), WITHIN_MAX_MS);
    return new Promise((resolve, reject) => {
      try {
        this.#put(frame);
      } catch (error) {
        return reject(error);
      }
      const asked = { frame, more, at, idle, signal, resolve, reject, cancel: undefined, last: 0 };
      if (signal) {
        asked.cancel = () => {
          this.#cancel(frame.id);
          this.#settleAsked(asked, signal.reason);
        };
        signal.addEventListener('abort', asked.cancel, { once: true });
      }
      this.#await(asked);
    });
  }

  /** #await enters a request. What muster does not end in time is found by the sweeper. */
  #await(asked) {
    const { within } = asked.frame;
    this.#asked.set(asked.frame.id, asked);
    asked.last = this.#sweeps + 1 + Math.ceil(((within === -1 ? WITHIN_MS : within) + SLACK_MS) / SWEEP_MS);
    if (!this.#sweeper) {
      this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
      this.#sweeper.unref();
    }
    if (!asked.idle && this.#wanted++ === 0) this.#sweeper.ref();
  }

  #settleAsked(asked, error, body) {
    this.#drop(asked.frame.id);
    const { signal, at } = asked;
    if (signal) signal.removeEventListener('abort', asked.cancel);
    if (error) return asked.reject(error);
    if (at) at(body);
    asked.resolve(body);
  }

  /** #drop takes a request out of the table; false: it is in there no more. */
  #drop(id) {
    const asked = this.#asked.get(id);
    if (!asked) return false;
    this.#asked.delete(id);
    if (!asked.idle && --this.#wanted === 0) this.#sweeper.unref();
    return true;
  }

  #sweep() {
    this.#sweeps++;
    for (const asked of [...this.#asked.values()]) {
      if (asked.last > this.#sweeps) continue;
      this.#cancel(asked.frame.id);
      this.#settleAsked(asked, new MusterError('E-DEADLINE', `no reply to ${asked.frame.op} has come in time`, 'give it more time; look at what keeps the receiver busy'));
    }
    if (this.#asked.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #cancel(id) {
    if (this.#drop(id) && !this.#over) this.#wire.send({ cmd: 'MUSTER_CANCEL', id }, 64);
  }

  /** _primitive asks muster for something shared; alone this process has it for itself. */
  async _primitive(op, body, options = {}) {
    checkBody(body);
    if (this.alone) return this.#local.ask(op, body, options.signal);
    for (let tries = 0; ; tries++) {
      try {
        return await this._ask(this.#op('', op, body), { within: PRIMITIVE_MS, ...options });
      } catch (error) {
        if (error.code !== 'E-AGENT-REPLACED' || !harmless(op) || tries >= 3) throw error;
      }
    }
  }

  /** _note tells muster something of this file's own. */
  _note(op, body) {
    if (this.alone || this.#over) return;
    try {
      this.#put(this.#own(op, body), true);
    } catch (error) {
      this.#log(`muster could not be told ${op}:`, error.message);
    }
  }

  /** #own is a frame that does not count as sent from within a handler. */
  #own(op, body) {
    return { cmd: 'MUSTER_OP', op, body };
  }

  async #askAlone(op, body) {
    if (/^(limiter|lock|counter|cache):/.test(op)) return this.#local.ask(op, body);
    if (op === 'ping') return body;
    throw this.#aloneError(op);
  }

  // ------------------------------------------------------------ what comes

  #frame(cmd, f) {
    if (cmd === 'MUSTER_REPLY' && f !== undefined) return this.#replied(f);
    if (f === undefined || !/^MUSTER_(OP|CANCEL)$/.test(cmd)) {
      if (f === undefined && this.#counts.unreadable++ === 0) this.#log('a frame cannot be read; more of them are only counted');
      return;
    }
    if (cmd === 'MUSTER_CANCEL') this.#canceled(f.id);
    else if (typeof f.op !== 'string') this.#counts.unreadable++;
    else if (f.channel) this.#published(f);
    else this.#told(f);
  }

  #replied(f) {
    const asked = this.#asked.get(f.id);
    if (!asked) this.#counts.late++;
    else if (f.more) {
      if (asked.more) asked.more(f);
    } else if (f.error) this.#settleAsked(asked, said(f.error, f.from));
    else this.#settleAsked(asked, undefined, f.body);
  }

  #canceled(id) {
    const request = this.#answering.get(id);
    if (request) request.end(new MusterError('E-INTERRUPTED', `${request.from} does not wait for ${request.op} any more`));
  }

  /** #told acts on what muster tells this file; all else is for handlers. */
  #told(f) {
    const body = f.body || {};
    const byMuster = !f.from || f.from === 'muster';
    if (f.op === 'cache:del') return this.#outdate(body.cache, (cache) => cache._outdate(body.key));
    if (f.op === 'cache:drop') return this.#outdate(body.cache, (cache) => cache._forget());
    if (byMuster) {
      switch (f.op) {
        case 'agent:new': return this.#agent(body);
        case 'gap': return this._gap(Math.max(1, body.missed || 0));
        case 'config:changed':
          this.#settings(body);
          this.emit('config', body);
          break;
        case 'commands:run': return this.#answer(f, [(call) => this.#run(call)]);
        case 'console:open': return this.#answer(f, [() => this.#openConsole()]);
        case 'console:close': return this.#answer(f, [() => this.#closeConsole()]);
      }
    }
    this.#answer(f, this.#find(f.op));
  }

  #outdate(name, f) {
    for (const cache of this.#caches.get(name) || []) f(cache);
  }

  #forgetCaches() {
    for (const set of this.#caches.values()) for (const cache of set) cache._forget();
  }

  /** _gap: messages were dropped. */
  _gap(missed) {
    this.#counts.dropped += missed;
    this.#forgetCaches();
    this.emit('gap', missed);
  }

  /** #agent goes on with another agent: what cannot be repeated without harm fails. */
  #agent(info) {
    this.#forgetCaches();
    for (const request of this.#answering.values()) {
      request.end(new MusterError('E-AGENT-REPLACED', 'the agent was replaced, so that nobody waits for the reply'));
    }
    this.#answering.clear();
    const all = [...this.#asked.values()];
    if (!all.some((asked) => asked.frame.op === 'hello')) this.#sayHello(); // else it is the first of them
    for (const asked of all) {
      const { frame } = asked;
      if (frame.to || !repeatable(frame.op)) {
        this.#settleAsked(asked, new MusterError('E-AGENT-REPLACED', `another agent has taken over before ${frame.op} was answered`, 'ask again if that does no harm'));
      } else this.#wire.send({ ...frame, again: true }, frame[kSize]);
    }
    for (const set of this.#caches.values()) for (const cache of set) cache._use();
    this.emit('agent', info);
  }

  /** #end: the wire has ended. */
  #end() {
    if (this.#over) return;
    this.#over = new MusterError('E-AGENT-UNREACHABLE', 'the channel to muster has ended', 'muster, or this worker, is about to end');
    clearInterval(this.#beat);
    this.#forgetCaches();
    for (const asked of [...this.#asked.values()]) this.#settleAsked(asked, this.#over);
    this.#closeConsole();
    this.emit('end');
  }

  /** counts are figures since it was opened. */
  get counts() {
    return { ...this.#counts };
  }

  // ------------------------------------------------------------ answering

  /** handle answers an op that others ask of this process; of several the last one counts. */
  handle(op, f) {
    checkName('the op', op);
    checkFunction(f);
    const own = (...args) => f(...args);
    this.#handlers.set(op, [...this.#handlers.get(op) || [], own]);
    return () => {
      const left = (this.#handlers.get(op) || []).filter((x) => x !== own);
      if (left.length > 0) this.#handlers.set(op, left);
      else this.#handlers.delete(op);
    };
  }

  /**
   * listen hears what others send to muster ("*": all of it). What muster does not know
   * is asked: the first reply that is not undefined answers it.
   */
  async listen(ops, f) {
    ops = [].concat(ops);
    for (const op of ops) checkName('the op', op);
    checkFunction(f);
    const own = { ops, f };
    this.#listeners.push(own);
    const remove = () => {
      const at = this.#listeners.indexOf(own);
      if (at < 0) return;
      this.#listeners.splice(at, 1);
      const left = ops.filter((op) => !this.#listeners.some((l) => l.ops.includes(op)));
      if (left.length > 0) this._note('unlisten', { ops: left });
    };
    try {
      if (!this.alone) await this._primitive('listen', { ops });
    } catch (error) {
      remove();
      throw error;
    }
    return remove;
  }

  /** #find lists who deals with an op, first who answers. */
  #find(op) {
    const list = (this.#handlers.get(op) || []).slice(-1);
    for (const l of this.#listeners) if (l.ops.includes(op) || l.ops.includes('*')) list.push(l.f);
    return list;
  }

  #answer(f, list) {
    if (list.length === 0) {
      if (f.id !== undefined) this.#reply(f, new MusterError('E-UNKNOWN-OP', `nothing here answers ${f.op}`));
      return;
    }
    const ours = OWN_OPS.includes(f.op);
    if (this.#running + list.length > ANSWERED_MAX && !ours) {
      if (f.id === undefined) this._gap(1);
      else this.#reply(f, new MusterError('E-TABLE-FULL', `${this.#running} requests are being answered already`, 'ask again later, or ask more workers'));
      return;
    }
    const request = new Request(f);
    if (f.id !== undefined) this.#answering.set(f.id, request);
    const answers = ours || this.#handlers.has(f.op); // the first of the list, whatever it returns
    const all = list.map((own, i) => this.#call(own, f, request).then((value) => {
      if (answers ? i === 0 : value !== undefined) this.#settle(f, request, undefined, value);
    }, (error) => {
      if (!(error instanceof MusterError)) this.#log(`the handler of ${f.op} has failed:`, error);
      if (!answers || i === 0) this.#settle(f, request, error);
    }));
    Promise.all(all).then(() => this.#settle(f, request, new MusterError('E-UNKNOWN-OP', `nothing here answers ${f.op}`)));
  }

  /** #call runs code of the program; what it sends counts as sent from within. */
  async #call(own, f, request) {
    this.#running++;
    try {
      return await inHandler.run((f.hops || 0) + 1, own, f.body, request);
    } finally {
      this.#running--;
    }
  }

  /** #settle replies, once, and not to an agent that has not asked. */
  #settle(f, request, error, value) {
    request.done();
    if (f.id === undefined || this.#answering.get(f.id) !== request) return;
    this.#answering.delete(f.id);
    this.#reply(f, error, value);
  }

  #reply(f, error, value) {
    if (this.#over) return;
    let size = 0;
    try {
      if (!error) size = checkBody(value);
    } catch (e) {
      error = e;
    }
    const frame = { cmd: 'MUSTER_REPLY', id: f.id, ...(error ? { error: faultOf(error) } : { body: value }) };
    this.#wire.send(frame, size + 128);
  }

  // ------------------------------------------------------------ publishing

  #channel(channel) {
    checkName('the channel', channel);
    return channel.startsWith(':') ? this.app + channel : channel;
  }

  /** publish sends a message to all who have subscribed to a channel: { receivers, missed }. */
  async publish(channel, message, { op, self, quick } = {}) {
    channel = this.#channel(channel);
    checkBody(message);
    const body = { channel, message: message === undefined ? null : message, op, self };
    if (this.alone) {
      if (!self) return { receivers: 0 };
      const { hops } = this.#op('', 'publish', body);
      const text = JSON.stringify(body.message);
      const all = [...this.#channels].filter(([key]) => key.startsWith(inQueue(channel)));
      for (const [, { queue }] of all) {
        this.#published({ op: op || 'message', channel, queue, from: 'muster', pid: process.pid, hops, body: JSON.parse(text) });
      }
      return { receivers: Math.min(all.length, 1) };
    }
    if (quick) return void this.send('', 'publish', body);
    return this.request('', 'publish', body);
  }

  /**
   * subscribe lets f have the messages of a channel, one after the other in the order
   * they came. Of the subscriptions of the project with one queue each message goes to
   * one. The function that it resolves with ends it.
   */
  async subscribe(channel, f, { queue = '' } = {}) {
    channel = this.#channel(channel);
    checkFunction(f);
    const own = { f, line: [], busy: false };
    const key = inQueue(channel, queue);
    const subs = this.#channels.get(key) || { queue, all: [] };
    subs.all.push(own);
    this.#channels.set(key, subs);
    const cancel = () => {
      const at = subs.all.indexOf(own);
      if (at < 0) return;
      subs.all.splice(at, 1);
      if (subs.all.length > 0) return;
      this.#channels.delete(key);
      this._note('unsubscribe', { channel, queue });
    };
    try {
      if (!this.alone) await this._primitive('subscribe', { channel, queue });
    } catch (error) {
      cancel();
      throw error;
    }
    return cancel;
  }

  #published(f) {
    const subs = this.#channels.get(inQueue(f.channel, f.queue));
    if (!subs) return;
    let list = subs.all;
    if (subs.queue) {
      subs.all.push(subs.all.shift()); // the next one's turn
      list = subs.all.slice(-1);
    }
    let missed = 0;
    for (const own of list) {
      if (own.line.length >= QUEUED_MAX) missed++;
      else {
        own.line.push(f);
        this.#deliver(own);
      }
    }
    if (missed > 0) this._gap(missed);
  }

  async #deliver(own) {
    if (own.busy) return;
    own.busy = true;
    for (let f; (f = own.line.shift()) !== undefined;) {
      const request = new Request(f);
      try {
        const later = inHandler.run((f.hops || 0) + 1, own.f, f.body, request);
        if (later && typeof later.then === 'function') await later;
      } catch (error) {
        this.#log(`a subscription to ${f.channel} has failed:`, error);
      }
    }
    own.busy = false;
  }

  // ------------------------------------------------------------ about itself

  /** ready says that this worker is ready, where its app waits for that. */
  ready() {
    this.#plain({ cmd: 'MUSTER_READY' });
  }

  /** status is one line that says what this worker does. */
  status(text) {
    this.#plain({ cmd: 'MUSTER_STATUS', text: String(text) });
  }

  /** lifecycle writes a line about this process among muster's own. */
  lifecycle(text) {
    this._note('lifecycle', { text: String(text) });
  }

  #plain(frame) {
    if (!this.alone && !this.#over) this.#wire.send(frame, 64);
  }

  /** kill ends this process's app, with { agent: true } the agent and all it runs. */
  kill({ reason, graceful, exitCode, agent } = {}) {
    return this.request('', 'kill', { reason, graceful, exit_code: exitCode, agent });
  }

  /** restart and reload are orders for the own app, or for those that selector means. */
  restart({ selector, reason } = {}) {
    return this.request('', 'restart', { selector, reason });
  }

  reload({ selector, reason } = {}) {
    return this.request('', 'reload', { selector, reason });
  }

  /** apps is what `muster status --json` shows. */
  apps() {
    return this.request('', 'status');
  }

  setPort({ app, name, port, now: atOnce }) {
    return this.request('', 'set-port', { app, name, port, now: atOnce });
  }

  setProbe({ app, interval }) {
    return this.request('', 'set-probe', { app, interval_ms: interval });
  }

  configReload() {
    return this.request('', 'config:reload');
  }

  /** draining is aborted when this worker is told to leave. */
  get draining() {
    return this.#draining.signal;
  }

  /** onStop registers what is done before the process ends: f(cause), an Error or null. */
  onStop(f) {
    checkFunction(f);
    return this.#stop.add(f);
  }

  /** _crashed tells of an error that nobody caught. It has left when it returns. */
  _crashed(error) {
    const real = error instanceof Error;
    const text = real ? String(error.message || error.name) : inspect(error);
    this._note('crash', {
      error: text.slice(0, STACK_MAX),
      stack: real ? String(error.stack || '').slice(0, STACK_MAX) : '',
      error_type: real ? String(error.constructor && error.constructor.name || error.name) : typeof error,
    });
  }

  get _hooks() {
    return this.#stop;
  }

  #settings(settings) {
    this.settings = settings;
    clearInterval(this.#beat);
    const every = Number(settings.heartbeat_ms) / 5;
    if (!(every > 0)) return;
    const { alive } = this.#options;
    const beat = () => {
      if (!alive || alive()) this._note('heartbeat');
    };
    beat();
    this.#beat = setInterval(beat, Math.min(every, DELAY_MAX));
    this.#beat.unref();
  }

  // ------------------------------------------------------------ commands, console

  /** addCommand offers a command to the console: f(args), whose result is shown. */
  async addCommand({ name, pattern, help }, f) {
    checkName('the command', name);
    checkFunction(f);
    this.#commands.set(name, f);
    const remove = () => {
      if (this.#commands.get(name) !== f) return;
      this.#commands.delete(name);
      this._note('commands:remove', { commands: [{ name }] });
    };
    try {
      if (!this.alone) await this._primitive('commands:add', { commands: [{ name, pattern, help }] });
    } catch (error) {
      remove();
      throw error;
    }
    return remove;
  }

  /** commands lists what all processes offer to the console. */
  async commands() {
    return this.alone ? [] : (await this.request('', 'commands')).commands || [];
  }

  async #run(call) {
    const f = this.#commands.get(call && call.name);
    if (!f) throw new MusterError('E-UNKNOWN-OP', `this process offers no command "${call && call.name}"`, '`help` lists the commands');
    const value = await f(call.args || {});
    return value === undefined ? '' : value;
  }

  #openConsole() {
    if (!this.#console) this.#console = new Console(this);
    return this.#console.open(this.settings || {});
  }

  async #closeConsole() {
    if (this.#console) this.#console.close();
    return {};
  }

  // ------------------------------------------------------------ shared

  /** limiter: a token bucket for each key that all processes share. */
  limiter(name, options) {
    return new Limiter(this, name, options);
  }

  lock(name, options) {
    return new Lock(this, name, options);
  }

  counter(name) {
    return new Counter(this, name);
  }

  /** cache: values kept in this process, removed in all by del and drop. */
  cache(name, options) {
    const cache = new Cache(this, name, options);
    const set = this.#caches.get(name) || new Set();
    this.#caches.set(name, set.add(cache));
    cache._use();
    return cache;
  }

  _dropCache(cache) {
    const set = this.#caches.get(cache.name);
    if (set && set.delete(cache) && set.size === 0) this.#caches.delete(cache.name);
  }

  get _over() {
    return this.#over;
  }
}

/** inQueue is the key of a channel's subscriptions with one queue. */
const inQueue = (channel, queue = '') => `${channel}\n${queue}`;

function checkFunction(f) {
  if (typeof f !== 'function') throw usage(`a ${typeof f} is no function`, 'give a function');
}

// ---------------------------------------------------------------- primitives

/** Limiter lets through, over all processes, what its rate allows. */
class Limiter {
  #worker;
  #body;
  #fail;
  #patience;

  constructor(worker, name, { rate, burst, interval, fail = 'closed', patience = PRIMITIVE_MS } = {}) {
    checkName('the limiter', name);
    if (fail !== 'open' && fail !== 'closed') throw usage(`fail is "${fail}"`, 'write "open" or "closed"');
    this.#worker = worker;
    this.#body = { name, rate, burst, interval_ms: interval };
    this.#fail = fail;
    this.#patience = patience;
  }

  /**
   * take takes tokens from a key's bucket: { allowed, wait, left }; wait is the exact
   * time in ms until the same would be allowed. A refusal moves nothing. With fail
   * "open" what muster cannot decide is allowed, and `error` says why.
   */
  async take(key = '', { tokens, signal } = {}) {
    try {
      const got = await this.#worker._primitive('limiter:take', { ...this.#body, key, tokens }, { within: this.#patience, signal });
      return { allowed: got.allowed, wait: (got.wait_ns || 0) / 1e6, left: got.left || 0 };
    } catch (error) {
      if (this.#fail !== 'open' || error.code === 'E-USAGE' || signal && signal.aborted) throw error;
      return { allowed: true, wait: 0, left: 0, error };
    }
  }

  /** allow is take of one token as a yes or no; an error is a no. */
  async allow(key) {
    try {
      return (await this.take(key)).allowed;
    } catch {
      return false;
    }
  }

  /** wait waits until tokens could be taken; E-DEADLINE at once if that is not before `within`. */
  async wait(key, { tokens, within = Infinity, signal } = {}) {
    for (const until = now() + within; ;) {
      const got = await this.take(key, { tokens, signal });
      if (got.allowed) return got;
      if (now() + got.wait > until) throw new MusterError('E-DEADLINE', `limiter ${this.#body.name} allows it only in ${Math.ceil(got.wait)} ms`);
      await sleep(got.wait, signal);
    }
  }
}

/** Counter is a number that all processes share. */
class Counter {
  #worker;
  #name;

  constructor(worker, name) {
    checkName('the counter', name);
    this.#worker = worker;
    this.#name = name;
  }

  async add(n = 1) {
    if (!Number.isSafeInteger(n)) throw usage(`${n} is no whole number`, 'add whole numbers');
    return (await this.#worker._primitive('counter:add', { name: this.#name, add: n })).value;
  }

  async get() {
    return (await this.#worker._primitive('counter:get', { name: this.#name })).value;
  }
}

/** Lock is a lock that all processes share. */
class Lock {
  #worker;
  #lease;

  constructor(worker, name, { lease = LEASE_MS } = {}) {
    checkName('the lock', name);
    if (!(lease >= LEASE_MIN_MS && lease <= WITHIN_MAX_MS)) throw usage(`a lease of ${lease} ms`, 'write 100 ms to 24 h');
    this.#worker = worker;
    this.#lease = lease;
    this.name = name;
  }

  /** acquire waits in line for the lock; E-DEADLINE when it was not free within `wait`. */
  async acquire({ wait = Infinity, signal } = {}) {
    const token = randomBytes(16).toString('hex');
    for (const until = now() + wait; ;) {
      const begun = now();
      const left = until - begun;
      const ms = Math.max(1, Math.min(left, 3600 * 1000));
      const got = await this.#ask(token, Math.ceil(ms), signal).catch((error) => {
        if (error.code !== 'E-DEADLINE') throw error;
        return {};
      });
      const held = got.held && await this.#hold(token, got, begun, signal);
      if (held) return held;
      if (now() >= until || left <= 0) throw new MusterError('E-DEADLINE', `the lock ${this.name} was not free in time${got.owner ? `; ${got.owner} has it` : ''}`);
    }
  }

  /** tryAcquire takes the lock if it is free, else it resolves with null. */
  async tryAcquire() {
    const token = randomBytes(16).toString('hex');
    const begun = now();
    const got = await this.#ask(token, 0);
    return got.held ? this.#hold(token, got, begun) : null;
  }

  /** run runs f(held) while the lock is held. */
  async run(f, options) {
    const held = await this.acquire(options);
    try {
      return await f(held);
    } finally {
      await held.release();
    }
  }

  /** #ask asks once; what may have been granted when nobody waits any more is given back. */
  async #ask(token, wait, signal) {
    try {
      return await this.#worker._primitive('lock:acquire', { name: this.name, token, lease_ms: this.#lease, wait_ms: wait || undefined },
        { within: wait + PRIMITIVE_MS, signal });
    } catch (error) {
      this.#giveUp(token);
      throw error;
    }
  }

  #giveUp(token) {
    if (this.#worker.alone) this.#worker._primitive('lock:release', { name: this.name, token }).catch(() => {});
    else this.#worker._note('lock:release', { name: this.name, token });
  }

  /**
   * #hold is the lock in hand; null: its lease has ended in the meantime. It was granted
   * at some time of a long wait, or this process was stopped: only a renewal says how long
   * it holds, and nobody has the lock in hand before.
   */
  async #hold(token, got, begun, signal) {
    if (now() - begun > this.#lease / 10) {
      begun = now();
      try {
        await this.#worker._primitive('lock:renew', { name: this.name, token, lease_ms: this.#lease }, { within: this.#lease, signal });
      } catch (error) {
        this.#giveUp(token);
        if (error.code !== 'E-NOT-OWNER') throw error;
        return null;
      }
    }
    return new Held(this.#worker, this, token, got, this.#lease, begun);
  }
}

/**
 * Held is a lock in hand. Its lease is renewed every third of its length; how long it
 * holds is measured from before each request, so that it is never trusted too long.
 */
class Held {
  #worker;
  #lease;
  #until;
  #timer;
  #lost = new AbortController();
  #released = false;

  constructor(worker, lock, token, got, lease, begun) {
    this.#worker = worker;
    this.name = lock.name;
    this.token = token;
    this.fence = got.fence;
    this.#lease = lease;
    this.#until = begun + lease;
    this.#again();
  }

  /** lost is aborted when the lock is not held any more, its reason says why. */
  get lost() {
    return this.#lost.signal;
  }

  #again() {
    const ms = Math.min(this.#lease / 3, this.#until - now());
    this.#timer = setTimeout(() => this.#renew(), Math.max(1, ms));
    this.#timer.unref();
  }

  async #renew() {
    const begun = now();
    if (begun >= this.#until) return this.#lose(new MusterError('E-NOT-OWNER', `the lease of lock ${this.name} has ended: it could not be renewed in time`));
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new MusterError('E-DEADLINE', 'the lease has ended')), this.#until - begun);
    timer.unref();
    try {
      const got = await inHandler.exit(() => this.#worker._primitive('lock:renew',
        { name: this.name, token: this.token, lease_ms: this.#lease }, { within: Math.max(1, this.#until - begun), signal: late.signal, idle: true }));
      if (got.held) this.#until = begun + this.#lease;
      else return this.#lose(new MusterError('E-NOT-OWNER', `the lock ${this.name} was given to ${got.owner || 'somebody else'}`));
    } catch (error) {
      if (error.code === 'E-NOT-OWNER' || error.code === 'E-AGENT-UNREACHABLE') return this.#lose(error);
    } finally {
      clearTimeout(timer);
    }
    if (!this.#lost.signal.aborted) this.#again();
  }

  #lose(error) {
    clearTimeout(this.#timer);
    if (!this.#lost.signal.aborted) this.#lost.abort(error);
  }

  /** release gives the lock back: true if it was still held. Calling it again is harmless. */
  async release() {
    if (this.#released || this.#lost.signal.aborted) return false;
    this.#released = true;
    this.#lose(new MusterError('E-NOT-OWNER', `the lock ${this.name} was given back`));
    try {
      await this.#worker._primitive('lock:release', { name: this.name, token: this.token });
      return true;
    } catch { // its lease ends by itself
      return false;
    }
  }
}

/**
 * Cache keeps values in this process, the least recently used leave for want of room.
 * A value is only kept while muster is known to tell of its removal, and not when that
 * comes while it is being filled.
 */
class Cache {
  #worker;
  #max;
  #ttl;
  #values = new Map(); // key → { value, until }, the last used at the end
  #fills = new Map(); // key → { promise, stale }
  #live = false;
  #use = 0;
  #stats = { hits: 0, misses: 0, fills: 0, evicted: 0, expired: 0, removed: 0 };

  constructor(worker, name, { max = 1024, ttl = 0 } = {}) {
    checkName('the cache', name);
    if (!Number.isInteger(max) || max < 1) throw usage(`a cache for ${max} values`, 'write how many values it may hold');
    this.#worker = worker;
    this.#max = max;
    this.#ttl = checkTTL(ttl);
    this.name = name;
  }

  /** _use asks to be told what is removed; until that is sure nothing is kept. */
  async _use() {
    if (this.#worker.alone) {
      this.#live = true;
      return;
    }
    const turn = ++this.#use;
    this.#live = false;
    for (let pause = 100; turn === this.#use && !this.#worker._over; pause = Math.min(2 * pause, 5000)) {
      try {
        await inHandler.exit(() => this.#worker._primitive('cache:use', { cache: this.name }, { idle: true, at: () => {
          if (turn === this.#use) this.#live = true;
        } }));
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, pause).unref());
      }
    }
  }

  /** get is the value of a key, undefined if there is none. */
  get(key) {
    const kept = this.#values.get(key);
    if (kept && kept.until > now()) {
      this.#values.delete(key);
      this.#values.set(key, kept);
      this.#stats.hits++;
      return kept.value;
    }
    if (kept && this.#values.delete(key)) this.#stats.expired++;
    this.#stats.misses++;
    return undefined;
  }

  /** set keeps a value in this process alone; others are told by del. */
  set(key, value, ttl = 0) {
    this.#keep(key, value, checkTTL(ttl));
    this.#stale(key);
  }

  #keep(key, value, ttl) {
    checkName('the key', key);
    if (!this.#live || value === undefined) return;
    const ms = ttl || this.#ttl;
    this.#values.delete(key);
    this.#values.set(key, { value, until: ms > 0 ? now() + ms : Infinity });
    if (this.#values.size > this.#max) {
      this.#values.delete(this.#values.keys().next().value);
      this.#stats.evicted++;
    }
  }

  /** fill is get, or else what f(key) makes; who asks meanwhile waits for the same. */
  async fill(key, f, { ttl = 0 } = {}) {
    checkFunction(f);
    checkTTL(ttl);
    const value = this.get(key);
    if (value !== undefined) return value;
    const under = this.#fills.get(key);
    if (under) return under.promise;
    const fill = { stale: !this.#live };
    this.#fills.set(key, fill);
    this.#stats.fills++;
    fill.promise = (async () => {
      try {
        const made = await f(key);
        if (!fill.stale) this.#keep(key, made, ttl);
        return made;
      } finally {
        if (this.#fills.get(key) === fill) this.#fills.delete(key);
      }
    })();
    return fill.promise;
  }

  /** del removes a key in every process. */
  async del(key) {
    checkName('the key', key);
    this._outdate(key);
    if (!this.#worker.alone) await this.#worker._primitive('cache:del', { cache: this.name, key });
  }

  /** drop removes all keys in every process. */
  async drop() {
    this._forget();
    if (!this.#worker.alone) await this.#worker._primitive('cache:drop', { cache: this.name });
  }

  #stale(key) {
    const fill = this.#fills.get(key);
    if (!fill) return;
    fill.stale = true; // who asks from now on must not get what it makes
    this.#fills.delete(key);
  }

  /** _outdate removes a key here. */
  _outdate(key) {
    this.#stale(key);
    if (this.#values.delete(key)) this.#stats.removed++;
  }

  /** _forget removes all keys here. */
  _forget() {
    for (const key of [...this.#fills.keys()]) this.#stale(key);
    this.#stats.removed += this.#values.size;
    this.#values.clear();
    if (this.#worker._over) this.#live = false;
  }

  /** close gives the cache up. */
  close() {
    this.#use++;
    this.#live = false;
    this._forget();
    this.#worker._dropCache(this);
  }

  get stats() {
    return { len: this.#values.size, ...this.#stats };
  }
}

function checkTTL(ttl) {
  if (!(ttl >= 0)) throw usage(`a value is to be kept for ${ttl} ms`, 'write a time above 0, or 0 for the cache\'s own');
  return ttl;
}

/** Local has the primitives of a process that runs alone; it answers as muster would. */
class Local {
  #buckets = new Map(); // "name\0key" → { at, missing }
  #locks = new Map(); // name → { token, fence, timer, line }
  #counters = new Map();
  #fence = 0;

  async ask(op, body, signal) {
    switch (op) {
      case 'limiter:take': return this.#take(body);
      case 'lock:acquire': return this.#acquire(body, signal);
      case 'lock:renew': return this.#renew(body);
      case 'lock:release': return this.#release(body);
      case 'counter:add': return this.#add(body.name, body.add);
      case 'counter:get': return { value: this.#counters.get(body.name) || 0 };
      default: return {};
    }
  }

  #add(name, n) {
    const value = (this.#counters.get(name) || 0) + n;
    this.#counters.set(name, value);
    return { value };
  }

  #take({ name, key, rate, burst, interval_ms: interval = 1000, tokens = 1 }) {
    if (!(rate > 0) || !Number.isFinite(rate)) throw usage(`the rate of the limiter is ${rate}`, 'write a rate above 0, such as 10');
    if (!(interval > 0)) throw usage(`the interval of the limiter is ${interval} ms`, 'write an interval above 0, such as 1000');
    burst = burst || Math.ceil(rate);
    if (!(burst >= 1) || !Number.isFinite(burst)) throw usage(`the burst of the limiter is ${burst}`, 'write a burst of at least 1');
    if (!(tokens > 0 && tokens <= burst)) throw usage(`${tokens} tokens are wanted of a burst of ${burst}`, 'take less at a time, or write a larger burst');
    const id = `${name}\0${key}`;
    const at = now();
    const bucket = this.#buckets.get(id) || { at, missing: 0, rate, interval };
    const missing = Math.min(burst, Math.max(0, bucket.missing - (at - bucket.at) * bucket.rate / bucket.interval));
    const allowed = missing + tokens <= burst + 1e-9;
    this.#buckets.set(id, { at, missing: allowed ? missing + tokens : missing, rate, interval });
    if (this.#buckets.size % 1024 === 0) this.#sweep(at);
    if (allowed) return { allowed, left: Math.max(0, burst - missing - tokens) };
    return { allowed, wait_ns: Math.ceil((missing + tokens - burst) * interval / rate * 1e6), left: burst - missing };
  }

  /** #sweep drops buckets that are full: they are no different from new ones. */
  #sweep(at) {
    for (const [id, b] of this.#buckets) {
      if (b.missing <= (at - b.at) * b.rate / b.interval) this.#buckets.delete(id);
    }
  }

  #acquire({ name, token, lease_ms: lease, wait_ms: wait }, signal) {
    const lock = this.#locks.get(name);
    if (!lock || lock.token === token) return this.#grant(name, token, lease, lock);
    if (!wait) return { held: false, owner: 'this process', wait_ms: Math.ceil(lock.until - now()) };
    return new Promise((resolve, reject) => {
      const waiting = { token, lease, leave: (f, value) => {
        clearTimeout(timer);
        if (signal) signal.removeEventListener('abort', stop);
        lock.line = lock.line.filter((w) => w !== waiting);
        f(value);
      } };
      const stop = () => waiting.leave(reject, signal.reason);
      const timer = setTimeout(() => waiting.leave(resolve, { held: false, owner: 'this process' }), Math.min(wait, DELAY_MAX));
      if (signal) signal.addEventListener('abort', stop, { once: true });
      waiting.take = (got) => waiting.leave(resolve, got);
      lock.line.push(waiting);
    });
  }

  #grant(name, token, lease = LEASE_MS, before) {
    if (before) clearTimeout(before.timer);
    const again = before && before.token === token;
    const lock = { token, fence: again ? before.fence : ++this.#fence, until: now() + lease, line: before ? before.line : [] };
    lock.timer = setTimeout(() => this.#next(name), lease);
    lock.timer.unref();
    if (again) return Object.assign(before, { until: lock.until, timer: lock.timer }) && { held: true, fence: lock.fence, lease_ms: lease };
    this.#locks.set(name, lock);
    return { held: true, fence: lock.fence, lease_ms: lease };
  }

  /** #next gives the lock to the first in line, who knows the line as that of a new lock. */
  #next(name) {
    const lock = this.#locks.get(name);
    clearTimeout(lock.timer);
    const first = lock.line.shift();
    if (!first) return void this.#locks.delete(name);
    Object.assign(lock, { token: first.token, fence: ++this.#fence, until: now() + first.lease });
    lock.timer = setTimeout(() => this.#next(name), first.lease);
    lock.timer.unref();
    first.take({ held: true, fence: lock.fence, lease_ms: first.lease });
  }

  #owned({ name, token }) {
    const lock = this.#locks.get(name);
    if (!lock || lock.token !== token) throw new MusterError('E-NOT-OWNER', `the lock ${name} belongs to somebody else`);
    return lock;
  }

  #renew(body) {
    const lock = this.#owned(body);
    return this.#grant(body.name, body.token, body.lease_ms, lock);
  }

  #release(body) {
    this.#owned(body);
    this.#next(body.name);
    return {};
  }
}

// ---------------------------------------------------------------- the end

/**
 * watchForCrash tells muster of an error that nobody caught, with its real text, before
 * Node.js ends the process. Hooks of onStop run then, too, under their deadline.
 */
function watchForCrash(worker) {
  process.on('uncaughtExceptionMonitor', (error) => {
    const others = process.listeners('uncaughtException').filter((f) => f !== worker._hooks.dying);
    if (others.length > 0 || process.hasUncaughtExceptionCaptureCallback()) return; // the program deals with it
    worker._crashed(error);
  });
}

/** Stop runs the hooks of onStop, once: by a signal, at the natural end, or by a crash. */
class Stop {
  #worker;
  #hooks = [];
  #options;
  #draining;
  #log;
  #begun;

  constructor(worker, options, draining, log) {
    this.#worker = worker;
    this.#options = options;
    this.#draining = draining;
    this.#log = log;
  }

  add(f) {
    if (this.#hooks.length === 0) this.#watch();
    this.#hooks.push(f);
    return () => {
      this.#hooks = this.#hooks.filter((x) => x !== f);
    };
  }

  #watch() {
    const { stopSignals = ['SIGTERM', 'SIGINT'] } = this.#options;
    for (const name of stopSignals) {
      const told = async () => {
        this.#draining.abort(new MusterError('E-INTERRUPTED', `${name} was received`));
        await this.run(null);
        process.off(name, told);
        // Whoever else listens decides on the end; alone the signal does what it always does.
        if (process.listenerCount(name) === 0) process.kill(process.pid, name);
      };
      process.on(name, told);
    }
    process.on('beforeExit', () => {
      if (!this.#begun) this.run(null);
    });
    this.dying = (error) => {
      if (process.listenerCount('uncaughtException') > 1) return; // the program deals with it
      process.stderr.write(`Uncaught ${error instanceof Error ? error.stack : inspect(error)}\n`);
      this.run(error).then(() => process.exit(1));
    };
    process.on('uncaughtException', this.dying);
  }

  /** run runs all hooks beside each other. One that fails or hangs does not delay the end for ever. */
  run(cause) {
    if (this.#begun) return this.#begun;
    const { stopTimeout = STOP_MS } = this.#options;
    const all = this.#hooks.map(async (f) => {
      try {
        await f(cause);
      } catch (error) {
        this.#log('a hook of onStop has failed:', error);
      }
    });
    this.#begun = new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#log(`a hook of onStop has not ended within ${stopTimeout} ms`);
        resolve();
      }, stopTimeout);
      Promise.all(all).then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    return this.#begun;
  }
}

// ---------------------------------------------------------------- the console

/**
 * Console is a REPL in this process, on a UNIX socket of its owner's, or a port of
 * 127.0.0.1 where the first line has to be the token.
 */
class Console {
  #worker;
  #server;
  #place;
  #open = new Set();

  constructor(worker) {
    this.#worker = worker;
    process.on('exit', () => this.close());
  }

  open({ console_dir: dir, console_port: port }) {
    if (!this.#place) {
      if (!dir && !port) throw new MusterError('E-CONSOLE', 'there is no directory that this worker could open a console in', 'name a port: console: {port: 9100}');
      this.#place = this.#listen(dir, port).catch((error) => {
        this.#place = undefined;
        throw error instanceof MusterError ? error : new MusterError('E-CONSOLE', `the console cannot be opened: ${error.message}`);
      });
    }
    return this.#place;
  }

  async #listen(dir, port) {
    const net = require('net');
    const token = port ? randomBytes(16).toString('hex') : '';
    const server = net.createServer((socket) => {
      this.#open.add(socket);
      socket.unref();
      socket.on('error', () => {}).on('close', () => this.#open.delete(socket));
      if (token) this.#admit(socket, token);
      else this.#talk(socket);
    });
    server.unref();
    this.#server = server;
    // exclusive: in a cluster worker the port is otherwise asked of muster, for all
    const path = port ? undefined : require('path').join(dir, `console-${process.pid}.sock`);
    const at = port ? { host: '127.0.0.1', port, exclusive: true } : { path, exclusive: true };
    if (path) fs.rmSync(path, { force: true });
    const mask = path ? process.umask(0o177) : undefined;
    try { // a path is bound at once
      server.listen(at);
    } finally {
      if (path) process.umask(mask);
    }
    await new Promise((resolve, reject) => server.once('error', reject).once('listening', resolve));
    return path ? { path } : { address: `127.0.0.1:${port}`, token };
  }

  #admit(socket, token) {
    let line = Buffer.alloc(0);
    const timer = setTimeout(() => socket.destroy(), 10000).unref();
    const read = (data) => {
      line = Buffer.concat([line, data]);
      const at = line.indexOf('\n');
      if (at < 0 && line.length <= 256) return;
      clearTimeout(timer);
      socket.off('data', read);
      socket.pause();
      const given = Buffer.from(line.subarray(0, Math.max(at, 0)).toString().trim());
      if (given.length !== token.length || !timingSafeEqual(given, Buffer.from(token))) return socket.end('the token is not the right one\n');
      if (line.length > at + 1) socket.unshift(line.subarray(at + 1));
      this.#talk(socket);
      socket.resume();
    };
    socket.on('data', read);
  }

  #talk(socket) {
    const name = this.#worker.name || `pid ${process.pid}`;
    const repl = require('repl').start({ prompt: `${name}> `, input: socket, output: socket, terminal: false, useGlobal: true });
    repl.context.muster = this.#worker;
    repl.on('exit', () => socket.end());
    socket.on('close', () => repl.close());
  }

  close() {
    if (!this.#server) return;
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
    this.#server = undefined;
    this.#place = undefined;
  }
}

// ---------------------------------------------------------------- opening

/** forked says that a Node.js process of the worker has started this one: a channel leads there, not to muster. */
function forked() {
  try {
    const session = Number(fs.readFileSync('/proc/self/stat', 'utf8').replace(/^.*\) /s, '').split(' ')[3]);
    return session !== process.pid && fs.readlinkSync(`/proc/${process.ppid}/exe`) === fs.readlinkSync('/proc/self/exe');
  } catch {
    return false;
  }
}

/** place finds the channel, once: a program that this one starts must not take it for its own. */
function place() {
  const known = process[kOpen];
  if (known) return known;
  const { isMainThread } = require('worker_threads');
  const { MUSTER_SDK: sdk, MUSTER_APP: app, MUSTER_CHANNEL_FD: fd, MUSTER_FORK: fork } = process.env;
  delete process.env.MUSTER_CHANNEL_FD;
  const found = { why: '', wire: undefined, worker: undefined };
  Object.defineProperty(process, kOpen, { value: found });
  if (sdk === 'off') found.why = 'MUSTER_SDK is off';
  else if (app === undefined) found.why = 'it was not started by muster';
  else if (!isMainThread) found.why = 'this is a thread; the main thread has the channel';
  else if (fork) found.why = 'it is a fork of a program that is its own primary, and muster knows only that program';
  else if (forked()) found.why = 'a worker of muster has started this process, and muster knows only the worker';
  else if (process.channel && typeof process.send === 'function') found.wire = () => new NodeWire();
  else if (!isSocket(fd)) found.why = 'it has no channel to muster (MUSTER_CHANNEL_FD)';
  else found.wire = () => new SocketWire(Number(fd));
  return found;
}

function isSocket(fd) {
  if (!/^\d+$/.test(fd || '')) return false;
  try {
    return fs.fstatSync(Number(fd)).isSocket();
  } catch {
    return false;
  }
}

/** isWorker says whether muster runs this process. */
function isWorker() {
  return place().wire !== undefined;
}

/** open takes part in operations; a second call returns the same Worker. */
function open(options = {}) {
  const found = place();
  if (!found.worker) {
    const wire = options.off ? null : found.wire && found.wire();
    found.worker = new Worker(wire || null, options, options.off ? 'it was switched off' : found.why);
  }
  return found.worker;
}

place();

module.exports = { open, isWorker, Worker, MusterError };
