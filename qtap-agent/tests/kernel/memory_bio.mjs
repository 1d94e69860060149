// HTTPS with Node, whose TLS works on memory instead of a socket: `memory_bio.mjs MODE ARGUMENTS…`.
import fs from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';

// Factor for all waits: see `lab.rs`.
const slowness = Number(process.env.QTAP_TEST_SLOWNESS ?? 1);

const said = (request) =>
  new Promise((resolve) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => resolve(Buffer.concat(parts).toString()));
  });

const modes = {
  // A server of HTTP/1.1 and HTTP/2 that returns the last part of the path, a little later.
  serve(folder, port) {
    const options = { key: fs.readFileSync(`${folder}/key.pem`), cert: fs.readFileSync(`${folder}/cert.pem`) };
    const server = http2.createSecureServer({ ...options, allowHTTP1: true });
    server.on('request', async (request, response) => {
      const body = await said(request);
      response.setHeader('content-type', 'text/plain');
      setTimeout(() => response.end(`echo ${request.url.split('/').pop()} ${body}`), 20);
    });
    // On a slow machine, no connection must count as idle between two requests.
    server.keepAliveTimeout = 5_000 * slowness;
    server.listen(Number(port), '127.0.0.1');
    setTimeout(() => process.exit(), 60_000 * slowness);
  },

  // Twenty connections at once, alternating between the ports, with three requests each.
  async many(...ports) {
    const one = async (number) => {
      const port = ports[number % ports.length];
      const agent = new https.Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
      for (let turn = 0; turn < 3; turn++) {
        const name = `${port}-${number}-${turn}`;
        const answer = await new Promise((resolve, reject) => {
          const options = { method: 'POST', agent, headers: { 'content-type': 'text/plain' } };
          const request = https.request(`https://127.0.0.1:${port}/echo/${name}`, options, (response) => {
            said(response).then(resolve);
          });
          request.on('error', reject);
          request.end(`said ${name}`);
        });
        check(answer, name);
      }
      agent.destroy();
    };
    await Promise.all(Array.from({ length: 20 }, (_, number) => one(number)));
  },

  // Concurrent streams of one HTTP/2 connection.
  async streams(port) {
    const session = http2.connect(`https://127.0.0.1:${port}`, { rejectUnauthorized: false });
    await Promise.all(
      Array.from({ length: 20 }, async (_, number) => {
        const name = `${port}-s-${number}`;
        const stream = session.request({ ':method': 'POST', ':path': `/echo/${name}`, 'content-type': 'text/plain' });
        stream.end(`said ${name}`);
        check(await said(stream), name);
      }),
    );
    await new Promise((closed) => session.close(closed));
  },
};

function check(answer, name) {
  if (answer !== `echo ${name} said ${name}`) throw new Error(`${name}: ${answer}`);
}

const [mode, ...rest] = process.argv.slice(2);
await modes[mode](...rest);
