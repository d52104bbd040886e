// A server that passes requests on to another one (argv[2]) and spoils the answers as the first part of the path says:
// /FAULT-COUNT/v1/...: the first COUNT scoring requests are spoilt; /FAULT-FROM-TO/v1/...: those from FROM to TO, counted from 0.
// A process of its own, since the client under test blocks.
import { createServer } from 'node:http';

const target = process.argv[2];
const counts = new Map();

const server = createServer(async (request, response) => {
  const [, word, ...rest] = request.url.split('/');
  const [fault, ...range] = word.split('.')[0].split('-'); // what follows a dot only keeps the counts apart
  const [from, to] = range.length > 1 ? range.map(Number) : [0, Number(range[0])];
  const path = `/${rest.join('/')}`;
  const parts = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts);
  const answer = await fetch(target + path, {
    method: request.method,
    ...(body.length > 0 && { body }),
    headers: { 'content-type': 'application/json' },
  });
  let bytes = Buffer.from(await answer.arrayBuffer());
  const seen = counts.get(word) ?? 0;
  if (path !== '/v1/models') counts.set(word, seen + 1);
  const spoil = path === '/v1/models' ? fault.startsWith('models') : seen >= from && seen < to;
  let status = answer.status;
  const headers = {};
  const json = (change) => {
    const value = JSON.parse(bytes);
    change(value);
    bytes = Buffer.from(JSON.stringify(value));
  };
  if (spoil) {
    if (fault === '429') {
      status = 429;
      headers['retry-after'] = '1';
      bytes = Buffer.from('{"error":{"message":"slow\\ndown"}}');
    } else if (fault === '500') {
      status = 500;
      bytes = Buffer.from('oh\x1b[31m no');
    } else if (fault === 'slow') {
      await new Promise((resolve) => setTimeout(resolve, 3000));
    } else if (fault === 'cut') {
      response.writeHead(200, { 'content-length': bytes.length });
      response.write(bytes.subarray(0, bytes.length >> 1));
      setTimeout(() => response.destroy(), 20);
      return;
    } else if (fault === 'gone') {
      response.destroy();
      return;
    } else if (fault === 'huge') {
      bytes = Buffer.concat([bytes, Buffer.alloc(3 << 20, ' ')]);
    } else if (fault === 'deep') {
      bytes = Buffer.alloc(50_000, '[');
    } else if (fault === 'bare') {
      json((v) => {
        for (const choice of v.choices) delete choice.prompt_logprobs;
      });
    } else if (fault === 'index') {
      json((v) => {
        v.choices[0].index = 1e9;
      });
    } else if (fault === 'null') {
      json((v) => {
        v.choices[0] = null;
      });
    } else if (fault === 'mass') {
      json((v) => {
        for (const entry of Object.values(v.choices[0].prompt_logprobs.at(-1))) entry.logprob = -0.1;
      });
    } else if (fault === 'short') {
      bytes = bytes.subarray(0, bytes.length - 8);
    } else if (fault === 'nan') {
      bytes.writeFloatLE(Number.NaN, 4);
    } else if (fault === 'zero') {
      bytes.writeFloatLE(Number.NEGATIVE_INFINITY, 4);
    } else if (fault.startsWith('zero_')) {
      // What servers write for ln 0, as the log-probability of every token at the last position.
      const word = { clamped: '-9999.0', python: '-Infinity', overflow: '-1e999', js: 'null' }[
        fault.slice(5)
      ];
      json((v) => {
        for (const entry of Object.values(v.choices[0].prompt_logprobs.at(-1))) entry.logprob = 'ZERO';
      });
      bytes = Buffer.from(bytes.toString().replaceAll('"ZERO"', word));
    } else if (fault === 'positive') {
      bytes.writeFloatLE(0.5, 4);
    } else if (fault === 'above') {
      json((v) => {
        for (const entry of Object.values(v.choices[0].prompt_logprobs[1])) entry.logprob = 0.5;
      });
    } else if (fault === 'fewer') {
      json((v) => v.choices[0].prompt_logprobs.pop());
    } else if (fault === 'ids') {
      json((v) => {
        v.choices[0].prompt_logprobs.splice(-1, 1, { 9999: { logprob: -1 } });
      });
    } else if (fault === 'modelsTokenizer') {
      json((v) => {
        v.data[0].minillm.tokenizer = 'another';
      });
    } else if (fault === 'modelsVocab') {
      json((v) => {
        v.data[0].minillm.vocab_size += 1;
      });
    } else if (fault === 'modelsPlain') {
      json((v) => {
        delete v.data[0].minillm;
      });
    }
  }
  response.writeHead(status, headers);
  response.end(bytes);
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
