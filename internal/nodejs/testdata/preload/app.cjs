// The workers of rig.cjs: what they are is in KIND.
'use strict';
const http = require('http');

const answer = (request, response) => setTimeout(() => response.end('hello'), 10);

const kinds = {
  http: () => http.createServer(answer).listen(0),
  keepalive: () => http.createServer((request, response) => { // insists on keep-alive
    response.setHeader('Connection', 'keep-alive');
    answer(request, response);
  }).listen(0),
  http2: () => require('http2').createServer(answer).listen(0),
  websocket: () => http.createServer().on('upgrade', (request, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n');
    socket.on('data', (frame) => { // one masked frame; answered unmasked after a while
      const text = Buffer.from(frame.subarray(6)).map((byte, i) => byte ^ frame[2 + i % 4]);
      if ((frame[0] & 0x0f) !== 1) return;
      setTimeout(() => socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text])), 10);
    });
    socket.on('end', () => socket.end());
    socket.on('error', () => {});
  }).listen(0),
  nothing: () => {},
  listener: () => process.on('message', () => {}),
  options: () => {
    const { Worker } = require('worker_threads');
    const { execFileSync } = require('child_process');
    const look = '[process.env.NODE_OPTIONS, process.env.MUSTER_CHANNEL_FD, process.env.MUSTER_DRAIN_MS].join()';
    const child = execFileSync(process.execPath, ['-p', look], { encoding: 'utf8' });
    new Worker('require("worker_threads").parentPort.postMessage(process.listenerCount("internalMessage"))',
      { eval: true }).on('message', (listeners) => {
      process.send({ options: process.env.NODE_OPTIONS, child: child.trim(), listeners });
    });
  },
};
kinds[process.env.KIND]();
