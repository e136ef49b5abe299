// HTTP, and a WebSocket that echoes, on one port.
const fs = require('fs');
const http = require('http');
const { WebSocketServer } = require('ws');

const release = fs.readFileSync('RELEASE', 'utf8').trim();
const server = http.createServer((req, res) => {
  const ms = Number(new URL(req.url, 'http://x').searchParams.get('ms'));
  setTimeout(() => res.end(`hello from release=${release} pid=${process.pid}\n`), ms);
});
new WebSocketServer({ server }).on('connection', (socket) => {
  socket.on('message', (data) => socket.send(`${data} release=${release} pid=${process.pid}`));
});
server.listen(process.env.PORT, process.env.HOST);
