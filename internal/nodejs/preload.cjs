// muster loads this file into its Node.js workers (NODE_OPTIONS=--require). It makes
// them leave without hanging up on anybody, and does nothing in any other process.
//
//   quiet     until muster's `disconnect` a server's own `emit` is watched, for
//             WebSockets and HTTP/2 sessions; nothing else is touched
//   draining  HTTP/1   each response says `Connection: close`; a connection that is idle
//                      is kept until its client has had one more answer, or `grace`
//             HTTP/2   GOAWAY twice (RFC 9113, 6.8), open streams finish
//             WebSocket  a Close frame (1012, service restart) at a quiet moment
//   Raw sockets, tunnels and responses that never end are the app's own affair.
//
// Nothing here may throw into the app or keep its process alive: whatever fails leaves
// Node.js as it is, and every timer is unref'ed.
//
// Environment, read once: MUSTER_DRAIN_MS the longest that an idle client is waited for
// (6000, or the server's keepAliveTimeout and 1 s if that is more); MUSTER_COUNT=1 the
// number of open connections is reported with MUSTER_CONNECTIONS.
'use strict';

const SPARE_MS = 6000; // more than Node's keepAliveTimeout of 5 s
const REPORT_MS = 10; // between two reports of open connections
const ROUND_TRIP_MS = 1000; // after that an HTTP/2 client has had its first GOAWAY
const OVERTAKEN_MS = 50; // an answer to PING overtakes HEADERS that were sent before it
const CLOSE_MS = 2000; // a WebSocket's client has that long to answer the Close frame
const SILENCE_MS = 250; // nothing on a WebSocket for that long, and the last word was ours
const HEARTBEAT_BYTES = 7; // so little from a WebSocket's client is a pong, no request
const LONGEST_MS = 8000; // a WebSocket that is never quiet is closed all the same

const CLOSE_FRAME = Buffer.from([0x88, 0x02, 1012 >> 8, 1012 & 0xff]);
const LAST_STREAM = 2 ** 31 - 1; // of a GOAWAY that only gives notice

let draining = false;
let limit = NaN;
const webSockets = new Map(); // socket → what is known of it
const open = new Set(); // connections of HTTP/1 servers
const sessions = new Map(); // HTTP/2 session → what to do when a stream comes in

/** safely makes a function that throws nothing; what went wrong stays as Node.js does it. */
function safely(f) {
  return (...args) => {
    try {
      return f(...args);
    } catch {
      return undefined;
    }
  };
}

/** after calls f later, if the process lives that long by itself. */
function after(ms, f) {
  return setTimeout(safely(f), ms).unref();
}

/**
 * forget keeps what muster has told this worker from the programs that the app starts:
 * muster's options, the last in NODE_OPTIONS (the path there may lead through links),
 * and the number of a descriptor that is another one in them.
 */
function forget() {
  const ours = /(^|\s)(--inspect-port=\S+\s+)?--require[\s=]+("([^"\\]|\\.)*\/preload\.cjs"|\S*\/preload\.cjs)\s*$/;
  const rest = (process.env.NODE_OPTIONS || '').replace(ours, '').trim();
  if (rest) process.env.NODE_OPTIONS = rest;
  else delete process.env.NODE_OPTIONS;
  for (const name of ['MUSTER_CHANNEL_FD', 'MUSTER_COUNT', 'MUSTER_DRAIN_MS']) delete process.env[name];
}

/**
 * letGo allows a script to end when it has nothing more to do. In Node.js the channel
 * keeps a cluster worker alive; here it does so while somebody listens to messages or
 * an answer is awaited.
 */
function letGo(cluster) {
  const { channel } = process;
  const ours = Math.min(1, process.listenerCount('message')); // cluster's own
  let awaited = 0;
  const look = safely(() => {
    const wanted = awaited > 0 || process.listenerCount('message') > ours ||
      cluster.worker.listenerCount('message') > 0;
    if (wanted) channel.ref();
    else channel.unref();
  });
  const changed = (event) => {
    if (event === 'message') process.nextTick(look);
  };
  for (const source of [process, cluster.worker]) {
    source.on('newListener', changed);
    source.on('removeListener', changed);
  }
  const wait = () => {
    awaited++;
    look();
  };
  const getServer = cluster._getServer;
  cluster._getServer = function(server, options, callback) {
    wait();
    return getServer.call(this, server, options, function(...args) {
      try {
        return callback.apply(this, args);
      } finally {
        awaited--;
        look();
      }
    });
  };
  for (const name of ['disconnect', 'destroy']) {
    const leave = cluster.Worker.prototype[name];
    cluster.Worker.prototype[name] = function(...args) {
      wait();
      if (name === 'disconnect') safely(begin)();
      return leave.apply(this, args);
    };
  }
  look();
}

/** reporter tells muster how many connections are open, for `least-connections`. */
function reporter() {
  const send = process.send;
  let count = 0;
  let timer;
  const report = safely(() => {
    timer = undefined;
    if (!process.connected) return;
    send.call(process, { cmd: 'MUSTER_CONNECTIONS', open: count }, undefined, undefined, () => {});
  });
  const change = (by) => {
    count += by;
    if (timer === undefined) timer = setTimeout(report, REPORT_MS).unref();
  };
  return (socket) => {
    change(1);
    socket.once('close', () => change(-1));
  };
}

/** watch sees what the servers of this process emit, from their `listen` on. */
function watch(net, count) {
  const seen = new WeakSet();
  const notice = safely((event, first, second) => {
    if (event === 'upgrade') upgraded(first, second);
    else if (event === 'session') opened(first);
    else if (event === 'connection' && count) count(first);
    if (event === 'connection' || event === 'secureConnection') connected(first);
  });
  const listen = net.Server.prototype.listen;
  net.Server.prototype.listen = function(...args) {
    if (!seen.has(this)) {
      seen.add(this);
      const emit = this.emit;
      Object.defineProperty(this, 'emit', {
        configurable: true,
        writable: true,
        value(event, first, second) {
          if (event !== 'request') notice(event, first, second);
          if (draining && event === 'stream' &&
              hold(first, () => Reflect.apply(emit, this, arguments))) return true;
          return Reflect.apply(emit, this, arguments);
        },
      });
    }
    return Reflect.apply(listen, this, args);
  };
}

/** begin is called once, before Node.js looks at muster's `disconnect`. */
function begin() {
  if (draining) return;
  draining = true;
  const http = require('http');
  drainResponses(http.ServerResponse.prototype);
  holdIdle(http.Server.prototype);
  safely(() => holdIdle(require('https').Server.prototype))(); // not in every build
  for (const session of sessions.keys()) safely(retire)(session);
  for (const [socket, talk] of webSockets) part(socket, talk);
}

/** drainResponses makes every response from now on the last one of its connection. */
function drainResponses(prototype) {
  const store = prototype._storeHeader;
  if (typeof store !== 'function') return;
  const last = safely((response) => {
    if (response.statusCode < 200) return; // 101: the connection goes on as something else
    response._last = true;
    response._header = response._header
      .replace(/\r\nkeep-alive:[^\r\n]*/i, '')
      .replace(/\r\nconnection:[ \t]*keep-alive[ \t]*(?=\r\n)/i, '\r\nConnection: close');
  });
  prototype._storeHeader = function(...args) {
    if (this.statusCode >= 200) this.shouldKeepAlive = false;
    const result = store.apply(this, args);
    last(this);
    return result;
  };
}

/** grace is how long an idle connection is kept for one more request. */
function grace(server) {
  const timeout = Number(server.keepAliveTimeout) || 0;
  const wanted = Math.max(SPARE_MS, timeout + 1000);
  return limit >= 0 ? Math.min(limit, wanted) : wanted;
}

/**
 * holdIdle puts off what Node.js does to idle connections when a server closes: a
 * request may be on its way on any of them. closeAllConnections stays: who calls that
 * means it.
 */
function holdIdle(prototype) {
  const closeIdle = prototype.closeIdleConnections;
  if (typeof closeIdle !== 'function') return;
  const held = new WeakSet();
  prototype.closeIdleConnections = function() {
    if (held.has(this)) return;
    held.add(this);
    after(grace(this), () => {
      closeIdle.call(this);
      for (const socket of open) { // to Node.js one that never sent a thing is not idle
        if (socket.server === this && socket.bytesRead === 0) socket.destroy();
      }
    });
  };
}

/** connected remembers a connection of a server that closes idle ones. */
function connected(socket) {
  if (!socket.server || !socket.server.closeIdleConnections) return;
  open.add(socket);
  socket.once('close', () => open.delete(socket));
}

/** opened remembers an HTTP/2 session. */
function opened(session) {
  sessions.set(session, undefined);
  session.once('close', () => sessions.delete(session));
  if (draining) retire(session);
}

/**
 * retire keeps an HTTP/2 session for one more request, as an idle HTTP/1 connection is
 * kept. Node.js reads nothing more from a session that has sent a GOAWAY and has no open
 * stream: so the first GOAWAY, which is only a notice, goes out when a stream comes in,
 * and that stream reaches the app when those that were on their way have come in too.
 */
function retire(session) {
  const close = session.close;
  const held = [];
  let told = false;
  const finish = safely(() => {
    if (session.close === close) return;
    session.close = close;
    if (!session.destroyed) session.close();
    for (const deliver of held) deliver();
  });
  const tell = (deliver) => {
    if (told) return false;
    told = true;
    if (deliver) held.push(deliver);
    after(ROUND_TRIP_MS, finish);
    try {
      session.goaway(0, LAST_STREAM);
      session.ping(() => after(OVERTAKEN_MS, finish));
    } catch {
      after(0, finish);
    }
    return true;
  };
  session.close = function(callback) { // called by Node.js when the server closes
    if (typeof callback === 'function') this.once('close', callback);
  };
  sessions.set(session, safely(tell));
  after(grace(session.server || {}), tell);
}

/** hold is true for a stream that deliver will give to the app a round trip later. */
function hold(stream, deliver) {
  const tell = stream && sessions.get(stream.session);
  return tell !== undefined && tell(() => stream.destroyed || deliver()) === true;
}

/** upgraded remembers a WebSocket, and from then on whose word was the last on it. */
function upgraded(request, socket) {
  if (!/^\s*websocket\s*$/i.test(request.headers.upgrade || '')) return;
  const talk = { heard: socket.bytesRead || 0, turn: undefined };
  const write = socket.write;
  socket.write = function(...args) {
    const heard = this.bytesRead;
    const answer = heard - talk.heard > HEARTBEAT_BYTES;
    talk.heard = heard;
    if (talk.turn !== undefined) talk.turn(answer);
    return Reflect.apply(write, this, args);
  };
  webSockets.set(socket, talk);
  socket.once('close', () => webSockets.delete(socket));
  if (draining) part(socket, talk);
}

/** swallow takes the place of write when the Close frame is out: no data may follow it. */
function swallow(...args) {
  const done = args.pop();
  if (typeof done === 'function') process.nextTick(done);
  return true;
}

/**
 * part closes a WebSocket at a moment when nothing of either side is likely to be on
 * its way: after a silence that began with a message of ours; after a while directly
 * behind an answer of ours, which is as far from the client's next message as can be;
 * at last behind any message of ours, or at once.
 */
function part(socket, talk) {
  const longest = limit >= 0 ? Math.min(limit, LONGEST_MS) : LONGEST_MS;
  const start = Date.now() + Math.random() * Math.min(webSockets.size, longest / 4);
  let bytes = -1;
  let since = start; // nothing came or went since then
  let done = false;
  const leave = () => {
    if (done) return;
    done = true;
    clearInterval(timer);
    talk.turn = undefined;
    if (!socket.writable) return;
    socket.write(CLOSE_FRAME);
    socket.end(); // at once, so that the client does not send on a closing WebSocket
    socket.write = swallow;
    after(CLOSE_MS, () => socket.destroy());
  };
  // Twice, because what is in the socket already is read in between.
  const leaveIfQuiet = (anyway, then) => {
    const heard = socket.bytesRead;
    setImmediate(setImmediate, safely(() => {
      if (anyway || socket.bytesRead === heard) leave();
      if (then) then();
    }));
  };
  const look = safely(() => {
    const waited = Date.now() - start;
    const total = socket.bytesRead + socket.bytesWritten;
    if (total !== bytes) {
      bytes = total;
      since = start + waited;
    }
    const answered = socket.bytesRead - talk.heard <= HEARTBEAT_BYTES;
    if (waited >= longest) leave();
    else if (start + waited - since < SILENCE_MS) return;
    else if (answered || waited >= longest * 5 / 8) leaveIfQuiet(false);
  });
  const timer = setInterval(look, SILENCE_MS / 5).unref();
  talk.turn = safely((answer) => {
    const waited = Date.now() - start;
    if (waited < longest * (answer ? 2 / 8 : 5 / 8)) return;
    socket.cork(); // so that the client reads the Close frame together with the answer
    leaveIfQuiet(waited >= longest * 5 / 8, () => socket.uncork());
  });
  socket.once('close', () => clearInterval(timer));
  look();
}

function start() {
  const { isMainThread } = require('worker_threads');
  if (!isMainThread) return;
  const { MUSTER_DRAIN_MS: longest, MUSTER_COUNT: counted } = process.env;
  forget();
  if (!process.channel) return;
  const cluster = require('cluster');
  if (!cluster.isWorker || !cluster.worker) return;
  limit = parseInt(longest, 10);
  letGo(cluster);
  watch(require('net'), counted === '1' ? reporter() : undefined);
  process.prependListener('internalMessage', safely((message) => {
    if (message && message.cmd === 'NODE_CLUSTER' && message.act === 'disconnect') begin();
  }));
}

safely(start)();
