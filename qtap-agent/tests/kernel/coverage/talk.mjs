// HTTPS with Node and compatible runtimes: `talk.mjs ask VERSION PLAN`, `talk.mjs serve VERSION FOLDER PORT`; plans as in talk.py.
import fs from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import process from 'node:process';

const drained = (stream) =>
  new Promise((resolve, reject) => {
    stream.on('data', () => {});
    stream.on('end', resolve);
    stream.on('error', reject);
  });

const well = (status) => {
  if (status >= 300) throw new Error(`status ${status}`);
};

async function overOne(asks) {
  const agent = new https.Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
  for (const [method, url, body] of asks) {
    const answer = await new Promise((resolve, reject) => {
      const headers = body ? { 'content-length': body.length } : {};
      const request = https.request(url, { method, agent, headers, rejectUnauthorized: false }, resolve);
      request.on('error', reject);
      request.end(body);
    });
    well(answer.statusCode);
    await drained(answer);
  }
  agent.destroy();
}

async function overTwo(asks) {
  const session = http2.connect(new URL(asks[0][1]).origin, { rejectUnauthorized: false });
  for (const [method, url, body] of asks) {
    const { pathname, search } = new URL(url);
    const stream = session.request({ ':method': method, ':path': pathname + search });
    stream.on('response', (headers) => well(headers[':status']));
    stream.end(body);
    await drained(stream);
  }
  await new Promise((resolve) => session.close(resolve));
}

const modes = {
  async ask(version, plan) {
    const lines = fs.readFileSync(plan, 'utf8').trim().split('\n');
    const asks = lines.map((line) => {
      const [method, url, file] = line.split(' ');
      return [method, url, file && fs.readFileSync(file)];
    });
    await (version === '2' ? overTwo : overOne)(asks);
    process.exit(0);
  },

  serve(version, folder, port) {
    const content = (url) => fs.readFileSync(`${folder}/${url.split('?')[0].split('/').pop()}`);
    const [key, cert] = ['key', 'cert'].map((name) => fs.readFileSync(`${folder}/${name}.pem`, 'utf8'));
    const options = { key, cert };
    if (globalThis.Deno) {
      // Deno has no HTTP/2 server in its Node API.
      globalThis.Deno.serve({ ...options, hostname: '127.0.0.1', port: Number(port) }, async (request) => {
        await request.arrayBuffer();
        return request.method === 'GET' ? new Response(content(request.url)) : new Response(null, { status: 201 });
      });
      return;
    }
    const server = version === '2' ? http2.createSecureServer(options) : https.createServer(options);
    // A check whether the port answers hangs up at once, which would end Bun.
    process.on('uncaughtException', (error) => console.error(String(error)));
    server.on('request', async (request, response) => {
      await drained(request);
      const body = request.method === 'GET' ? content(request.url) : Buffer.alloc(0);
      response.writeHead(request.method === 'GET' ? 200 : 201, { 'content-length': body.length });
      response.end(body);
    });
    server.listen(Number(port), '127.0.0.1');
  },
};

const [mode, ...rest] = process.argv.slice(2);
modes[mode](...rest);
