// A program that is its own primary, in the way of Node's documentation.
const cluster = require('cluster');
const fs = require('fs');
const http = require('http');

const release = fs.readFileSync('RELEASE', 'utf8').trim();
if (cluster.isPrimary) {
  console.log(`primary ${process.pid} runs`);
  cluster.on('online', (worker) => console.log(`online ${worker.id}`));
  cluster.on('listening', (worker, at) => console.log(`listening ${worker.id} ${at.port}`));
  cluster.on('message', (worker, m, socket) => {
    if (m.hello) worker.send({ answer: m.hello });
    if (m.more) cluster.fork({ COLOUR: 'red' });
    if (socket) socket.end(`primary ${process.pid} has it\n`);
  });
  cluster.on('exit', (worker, code, signal) => {
    console.log(`exit ${worker.id} ${code} ${signal} ${worker.exitedAfterDisconnect}`);
    if (!worker.exitedAfterDisconnect) cluster.fork({ COLOUR: 'blue' });
  });
  for (let i = 0; i < 2; i++) cluster.fork({ COLOUR: 'blue' });
} else {
  process.on('message', (m) => console.log(`answered ${m.answer}`));
  process.send({ hello: cluster.worker.id });
  http.createServer((req, res) => {
    const url = new URL(req.url, 'http://x');
    if (url.pathname === '/socket') {
      process.send({ socket: true }, req.socket);
      return;
    }
    if (url.pathname === '/more') process.send({ more: true });
    if (url.pathname === '/hello') process.send({ hello: url.searchParams.get('n') });
    const ms = Number(url.searchParams.get('ms'));
    setTimeout(() => res.end(`hello from release=${release} pid=${process.pid} colour=${process.env.COLOUR}\n`), ms);
  }).listen(process.env.PORT, process.env.HOST);
}
