// A scripted end of muster's: what the tests speak with.
'use strict';
const { fork, spawn } = require('child_process');
const path = require('path');

/** Script keeps what came until a test waits for it. */
class Script {
  frames = [];
  #waiting = [];

  heard(frame) {
    this.frames.push(frame);
    for (const w of [...this.#waiting]) w();
  }

  /** next takes the first frame that matches. */
  next(match, ms = 30000) {
    const fits = typeof match === 'string' ? (f) => f.op === match || f.cmd === match : match;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((w) => w !== look);
        reject(new Error(`no ${match} came; there are ${JSON.stringify(this.frames).slice(0, 2000)}`));
      }, ms);
      const look = () => {
        const at = this.frames.findIndex(fits);
        if (at < 0) return;
        clearTimeout(timer);
        this.#waiting = this.#waiting.filter((w) => w !== look);
        resolve(this.frames.splice(at, 1)[0]);
      };
      this.#waiting.push(look);
      look();
    });
  }

  reply(to, body, more = {}) {
    this.send({ cmd: 'MUSTER_REPLY', id: to.id, body, ...more });
  }

  fail(to, code, text = code) {
    this.send({ cmd: 'MUSTER_REPLY', id: to.id, error: { code, text } });
  }

  /** answer waits for an op and replies. */
  async answer(op, body) {
    const f = await this.next(op);
    this.reply(f, body);
    return f;
  }

  tell(op, body, more = {}) {
    this.send({ cmd: 'MUSTER_OP', op, body, from: 'muster', ...more });
  }

  welcome(more = {}) {
    return this.answer('hello', { project: 'p', node: 'n', name: 'web#0', app: 'web', role: 'web', slot: 0, heartbeat_ms: 0, agent: 1, epoch: 1, ...more });
  }
}

/** FakeWire is a wire without a process, with its script. What goes over it goes as JSON. */
class FakeWire {
  open = true;
  waiting = { check: () => {} };
  script = new Script();

  start(on) {
    this.on = on;
    this.script.send = (frame) => on.frame(frame.cmd, JSON.parse(JSON.stringify(frame)));
  }

  send(frame) {
    const sent = JSON.parse(JSON.stringify(frame));
    queueMicrotask(() => this.script.heard(sent));
  }
}

const programs = path.join(__dirname, 'programs.js');

/** Child is a program on a channel, of Node.js's own (ipc) or a socket. */
class Child extends Script {
  out = '';
  err = '';
  messages = [];

  constructor(kind, name, env = {}) {
    super();
    const all = { ...process.env, MUSTER_APP: 'web', MUSTER_WORKER: '0', ...env };
    delete all.MUSTER_SDK;
    delete all.NODE_OPTIONS;
    delete all.NODE_TEST_CONTEXT;
    if (env.MUSTER_SDK) all.MUSTER_SDK = env.MUSTER_SDK;
    const stdio = ['ignore', 'pipe', 'pipe'];
    if (kind === 'socket') {
      all.MUSTER_CHANNEL_FD = '3';
      this.child = spawn(process.execPath, [programs, name], { env: all, stdio: [...stdio, 'pipe'], detached: true });
      this.#lines(this.child.stdio[3]);
    } else {
      if (kind === 'cluster') all.NODE_UNIQUE_ID = '1';
      this.child = fork(programs, [name], { env: all, stdio: [...stdio, 'ipc'], detached: true });
      this.child.on('message', (m) => (m && /^MUSTER_/.test(m.cmd) ? this.heard(m) : this.messages.push(m)));
    }
    this.child.stdout.on('data', (d) => (this.out += d));
    this.child.stderr.on('data', (d) => (this.err += d));
    // Not 'close': it does not come when this side has disconnected.
    const ends = ['stdout', 'stderr'].map((name) => new Promise((resolve) => this.child[name].once('close', resolve)));
    const exit = new Promise((resolve) => this.child.once('exit', (code, signal) => resolve({ code, signal })));
    this.ended = Promise.all([exit, ...ends]).then(([how]) => how);
  }

  #lines(socket) {
    let rest = '';
    socket.setEncoding('utf8');
    socket.on('error', () => {});
    socket.on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) this.heard(JSON.parse(line));
    });
    this.socket = socket;
  }

  send(frame) {
    if (this.socket) return void this.socket.write(JSON.stringify(frame) + '\n');
    this.child.send(/^MUSTER_/.test(frame.cmd) ? { ...frame, cmd: 'NODE_' + frame.cmd } : frame, () => {}); // it may have ended
  }

  kill() {
    try {
      process.kill(-this.child.pid, 'SIGKILL');
    } catch {
      // it has ended
    }
  }
}

module.exports = { FakeWire, Child };
