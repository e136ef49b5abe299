// HTTP/2 without TLS.
const fs = require('fs');
const http2 = require('http2');

const release = fs.readFileSync('RELEASE', 'utf8').trim();
http2.createServer((req, res) => {
  const ms = Number(new URL(req.url, 'http://x').searchParams.get('ms'));
  setTimeout(() => res.end(`hello from release=${release} pid=${process.pid}\n`), ms);
}).listen(process.env.PORT, process.env.HOST);
