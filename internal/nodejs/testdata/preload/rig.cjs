// node rig.cjs KIND STORY: Node.js's own primary with one worker of app.cjs, which has the
// preload at PRELOAD (none: unset), and clients. Prints what happened as JSON.
'use strict';
const cluster = require('cluster');
const net = require('net');
const path = require('path');
const { once } = require('events');

const [kind, story] = process.argv.slice(2);
const result = { answered: 0, lost: 0, closing: 0, code: undefined, messages: [] };
const env = { KIND: kind, MUSTER_DRAIN_MS: '3000', MUSTER_CHANNEL_FD: '3', MUSTER_COUNT: ['count', 'silent'].includes(story) ? '1' : '' };
if (process.env.PRELOAD) {
  const word = process.env.PRELOAD.replace(/["\\]/g, '\\$&');
  env.NODE_OPTIONS = `--no-warnings --inspect-port=0 --require "${word}"`;
}
cluster.setupPrimary({ exec: path.join(__dirname, 'app.cjs') });
const worker = cluster.fork(env);
const exited = once(worker, 'exit').then(([code]) => { result.code = code; });
worker.on('message', (message) => result.messages.push(message));
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Http is one keep-alive connection.
class Http {
  constructor(port) {
    this.socket = net.connect(port, '127.0.0.1').setNoDelay().on('error', () => this.end());
    this.socket.on('close', () => this.end()).on('data', (data) => {
      if (!/\r\n\r\nhello|\r\n5\r\nhello/.test(this.text += data)) return;
      result.answered++;
      this.closing = /\r\nconnection: close\r\n/i.test(this.text);
      if (this.closing) result.closing++;
      this.resolve(true);
    });
  }

  end() {
    this.closed = true;
    if (this.resolve) this.resolve(false);
  }

  async get() {
    this.text = '';
    const answer = new Promise((resolve) => { this.resolve = resolve; });
    if (this.closed) this.resolve(false);
    this.socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    if (!await answer) result.lost++;
    this.resolve = undefined;
  }
}

// Talk is one WebSocket with messages of one digit each; the frames come whole.
class Talk extends Http {
  async open() {
    this.socket.removeAllListeners('data');
    this.socket.write('GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
    await once(this.socket, 'data');
    this.socket.on('data', (data) => {
      for (let i = 0; i < data.length; i += 2 + data[i + 1]) {
        if (data[i] === 0x81) result.answered++;
        else if (data[i] === 0x88) result.closing = data.readUInt16BE(i + 2);
        if (data[i] === 0x88) this.closed = true;
        else if (this.resolve) this.resolve(true);
      }
    });
  }

  async get() {
    const answer = new Promise((resolve) => { this.resolve = resolve; });
    this.socket.write(Buffer.from([0x81, 0x88, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
    if (!await answer) result.lost++;
    this.resolve = undefined;
  }
}

const stories = {
  async busy(port) { // clients that send the next request at once; it ends with the worker
    const clients = Array.from({ length: 8 }, () => new Http(port));
    await Promise.all(clients.map((client) => client.get())); // the worker has them all
    const all = clients.map(async (client) => {
      while (!client.closing && !client.closed) await client.get();
    });
    setTimeout(() => worker.disconnect(), 50);
    await Promise.all(all);
  },
  async idle(port) { // a client that was idle when the worker was asked to leave
    const client = new Http(port);
    await client.get();
    worker.disconnect();
    await wait(300);
    await client.get();
  },
  async silent(port) { // a client that never sends a thing is not waited for for ever
    const client = new Http(port);
    await once(worker, 'message'); // the worker has counted it
    worker.disconnect();
    await exited;
    client.socket.destroy();
  },
  async talk(port) { // a WebSocket with a message every 40 ms
    const client = new Talk(port);
    await client.open();
    await client.get();
    worker.disconnect();
    while (!client.closed) {
      await client.get();
      await wait(40);
    }
    client.socket.end();
  },
  async quiet(port) { // a WebSocket with a message now and then
    const client = new Talk(port);
    await client.open();
    await client.get();
    worker.disconnect();
    await once(client.socket, 'end');
    client.socket.end();
  },
  async streams(port) { // an HTTP/2 session with three streams at a time
    const session = require('http2').connect(`http://127.0.0.1:${port}`);
    session.on('error', () => {}).on('goaway', () => { result.closing++; });
    const get = () => new Promise((resolve) => {
      const stream = session.request().resume();
      let status;
      stream.on('response', (headers) => { status = headers[':status']; }).on('error', () => {});
      stream.on('close', () => {
        if (status === 200) result.answered++;
        else if (stream.rstCode !== 7) result.lost++; // refused: it was never sent
        resolve();
      });
    });
    await get(); // the worker has it
    setTimeout(() => worker.disconnect(), 50);
    while (!session.closed && !session.destroyed) await Promise.all([get(), get(), get()]);
  },
  async count(port) {
    const client = new Http(port);
    await client.get();
    client.socket.destroy();
    while (result.messages.length < 2) await wait(10);
    worker.disconnect();
  },
  async ends() {}, // by itself
  async told() { // it stays until it is told to leave
    await once(worker, 'online');
    await wait(500);
    if (worker.isDead()) result.lost++;
    worker.disconnect();
  },
};

(async () => {
  const port = ['ends', 'told'].includes(story) ? 0 : (await once(worker, 'listening'))[0].port;
  await stories[story](port);
  await exited;
  process.stdout.write(JSON.stringify(result));
  process.exit(0);
})();
setTimeout(() => { // it hung
  worker.process.kill('SIGKILL');
  process.exit(3);
}, 20000).unref();
