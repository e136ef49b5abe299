// Leaves when it is asked to by a message, in the way that the message names.
const cluster = require('cluster');
const http = require('http');

http.createServer((req, res) => res.end(`hello from release=1 pid=${process.pid}\n`)).listen(process.env.PORT, process.env.HOST);
process.on('message', (m) => {
  switch (m.leave) {
    case 'worker.disconnect': return cluster.worker.disconnect();
    case 'worker.kill': return cluster.worker.kill();
    case 'process.disconnect': return process.disconnect();
    case 'exit': return process.exit(3);
    default: process.send({ echo: m, id: cluster.worker.id, instance: process.env.NODE_APP_INSTANCE });
  }
});
