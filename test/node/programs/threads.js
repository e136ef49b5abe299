// The server's work is done in threads, which must not take themselves for workers.
const http = require('http');
const { Worker } = require('worker_threads');

const code = `const { parentPort } = require('worker_threads');
const cluster = require('cluster');
parentPort.on('message', () => parentPort.postMessage(String(cluster.isPrimary) + ' ' + typeof process.send));`;
const thread = new Worker(code, { eval: true });
http.createServer((req, res) => {
  thread.once('message', (text) => res.end(`hello from release=1 pid=${process.pid} thread=${text}\n`));
  thread.postMessage('');
}).listen(process.env.PORT, process.env.HOST);
