// The plainest server there is. It knows nothing of cluster or of muster.
const fs = require('fs');
const http = require('http');

const release = fs.readFileSync('RELEASE', 'utf8').trim();
const server = http.createServer((req, res) => {
  const url = new URL(req.url, 'http://x');
  if (url.pathname === '/block') { // the whole process hangs
    if (process.env.PEERS) fs.appendFileSync(process.env.PEERS, 'blocked\n');
    const end = Date.now() + Number(url.searchParams.get('ms'));
    while (Date.now() < end);
  }
  setTimeout(() => res.end(`hello from release=${release} pid=${process.pid}\n`),
    url.pathname === '/block' ? 0 : Number(url.searchParams.get('ms')));
});
if (process.env.PEERS) { // who was accepted by whom
  const log = fs.openSync(process.env.PEERS, 'a');
  const note = (port) => fs.writeSync(log, `${process.pid} ${port}\n`);
  server.prependListener('connection', (socket) => note(socket.remotePort));
  // One that muster deals counts as accepted with the answer, which Node.js sends
  // before there is a socket.
  process.prependListener('internalMessage', (message, handle) => {
    const peer = {};
    if (message.act === 'newconn' && handle?.getpeername?.(peer) === 0) note(peer.port);
  });
}
if (process.env.MAX_CONNECTIONS) server.maxConnections = Number(process.env.MAX_CONNECTIONS);
if (process.env.BACKLOG) server.listen({ port: process.env.PORT, host: process.env.HOST, backlog: Number(process.env.BACKLOG) });
else if (process.env.SOCKET) server.listen(process.env.SOCKET);
else server.listen(process.env.PORT, process.env.HOST);
