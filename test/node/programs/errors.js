// Says what the system made of an address, and tries again when it was in use.
const net = require('net');

const server = net.createServer((socket) => socket.end(`release=1 pid=${process.pid}\n`));
server.on('error', (err) => {
  console.log(`${err.code} ${err.syscall} ${err.address} ${err.port}`);
  setTimeout(() => server.listen(process.env.PORT, process.env.HOST), 200);
});
server.on('listening', () => console.log('listening'));
server.listen(process.env.PORT, process.env.HOST);
