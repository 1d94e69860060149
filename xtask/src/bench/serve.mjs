// 1 KB over TLS by Node, HTTP/1.1 and HTTP/2: `serve.mjs FOLDER PORT`. The folder has cert.pem and key.pem.
import fs from 'node:fs';
import http2 from 'node:http2';
import process from 'node:process';

const [folder, port] = process.argv.slice(2);
const [key, cert] = ['key', 'cert'].map((name) => fs.readFileSync(`${folder}/${name}.pem`));
const body = Buffer.alloc(1024, 'x');
const server = http2.createSecureServer({ key, cert, allowHTTP1: true }, (request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length });
  response.end(body);
});
server.listen(Number(port), '127.0.0.1');
