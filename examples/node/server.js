// An HTTP server that takes the socket muster gives it, and stops without
// hanging up on anybody.
const fs = require('fs');
const http = require('http');
const net = require('net');

const release = fs.readFileSync('RELEASE', 'utf8').trim();
const idleGrace = 5000; // longer than clients wait between two requests
let draining = false;

const server = http.createServer((req, res) => {
  const ms = Number(new URL(req.url, 'http://x').searchParams.get('ms'));
  req.socket.busy = true;
  res.on('close', () => { req.socket.busy = false; });
  setTimeout(() => {
    if (draining) res.setHeader('Connection', 'close'); // the client opens its next one elsewhere
    res.end(`hello from release=${release} pid=${process.pid}\n`);
  }, ms);
});
server.keepAliveTimeout = 30000;

const open = new Set();
server.on('connection', (socket) => {
  open.add(socket);
  socket.on('close', () => open.delete(socket));
});

process.once('SIGTERM', stop).once('SIGINT', stop);

function stop() {
  draining = true;
  // http's own close() would hang up on idle connections at once, just when a
  // client may be sending on one; net's only stops accepting.
  net.Server.prototype.close.call(server, () => process.exit(0));
  setTimeout(() => {
    for (const socket of open) if (!socket.busy) socket.destroy();
  }, idleGrace).unref();
}

server.listen(process.env.LISTEN_FDS ? { fd: 3 } : { port: process.env.PORT || 8087, host: '127.0.0.1' }, () => {
  console.log(`serving release ${release}`);
});
