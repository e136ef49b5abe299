// Answers; once asked to, it takes every descriptor that the system allows it.
const fs = require('fs');
const http = require('http');

http.createServer((req, res) => {
  res.end(`hello from release=1 pid=${process.pid}\n`);
  if (req.url !== '/exhaust') return;
  res.on('close', () => setTimeout(() => {
    try {
      for (;;) fs.openSync('/dev/null', 'r');
    } catch (err) {
      fs.writeSync(1, `exhausted ${err.code}\n`);
    }
  }, 50));
}).listen(process.env.PORT, process.env.HOST);
