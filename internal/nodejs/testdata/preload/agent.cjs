// node agent.cjs: muster's side of PROTOCOL-delegate.md, played with Node's own primary,
// for program.cjs with the preload at PRELOAD. What the program prints is passed on.
'use strict';
const cluster = require('cluster');
const path = require('path');
const { fork } = require('child_process');

const program = fork(path.join(__dirname, 'program.cjs'), [], {
  env: { ...process.env, NODE_OPTIONS: `--require ${process.env.PRELOAD}` },
});
const forks = new Map();
const tell = (act, id, rest, handle) => {
  if (program.connected) program.send({ cmd: 'NODE_MUSTER', act, id, ...rest }, handle);
};

function start({ id, argv, env, silent }) {
  if (argv[1] === '--fail') return tell('failed', id, { code: 'ENOENT', text: 'no such file' });
  cluster.setupPrimary({ exec: argv[1], args: argv.slice(2), silent: true });
  const worker = cluster.fork(env);
  forks.set(id, worker);
  worker.process.stdout.on('data', (data) => {
    if (silent) tell('output', id, { fd: 1, data: data.toString('base64') });
  });
  tell('forked', id, { pid: worker.process.pid });
  worker.on('online', () => tell('online', id));
  worker.on('listening', (at) => tell('listening', id, at));
  worker.on('message', (msg, handle) => tell('message', id, { msg }, handle));
  worker.on('disconnect', () => {
    if (worker.exitedAfterDisconnect) tell('leaving', id);
    tell('disconnect', id);
  });
  worker.on('exit', (code, signal) => tell('exit', id, { code, signal }));
}

program.on('message', (message, handle) => {
  const worker = forks.get(message.id);
  if (message.act === 'fork') start(message);
  else if (message.act === 'send') worker.send(message.msg, handle, () => handle && handle.destroy());
  else if (message.act === 'disconnect') worker.disconnect();
  else if (message.act === 'kill') worker.process.kill(message.signal);
});
program.on('exit', (code) => process.exit(code));
setTimeout(() => { // it hung
  for (const worker of forks.values()) worker.process.kill('SIGKILL');
  program.kill('SIGKILL');
  process.exit(3);
}, 20000).unref();
