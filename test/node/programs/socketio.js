const fs = require('fs');
const http = require('http');
const { Server } = require('socket.io');

const release = fs.readFileSync('RELEASE', 'utf8').trim();
const server = http.createServer((req, res) => {
  const ms = Number(new URL(req.url, 'http://x').searchParams.get('ms'));
  setTimeout(() => res.end(`hello from release=${release} pid=${process.pid}\n`), ms);
});
new Server(server).on('connection', (socket) => {
  socket.on('say', (text, answer) => answer(`${text} release=${release} pid=${process.pid}`));
});
server.listen(process.env.PORT, process.env.HOST);
