import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';

export interface HubServer {
  url: string;
  commit: string;
  /** Paths of files sent, without the library's look at their first byte. */
  sent: string[];
  /** Authorization headers that came. */
  keys: Set<string | undefined>;
  close(): void;
}

/**
 * The pages of the Hugging Face Hub that a download reads, for one model whose files lie in a directory. As on the hub, each
 * file was last changed by a commit of its own.
 */
export async function hubServer(id: string, directory: string, gated = false): Promise<HubServer> {
  const commit = 'c'.repeat(40);
  const sent: string[] = [];
  const keys = new Set<string | undefined>();
  const sha1 = (text: string | Buffer): string => createHash('sha1').update(text).digest('hex');
  const entry = (path: string) => {
    const bytes = readFileSync(join(directory, path));
    const lastCommit = { id: sha1(path), title: path, date: '2026-01-01T00:00:00.000Z' };
    return { type: 'file', path, size: bytes.length, oid: sha1(bytes), lastCommit };
  };
  const server = createServer(async (request, response) => {
    keys.add(request.headers.authorization);
    const path = decodeURIComponent(request.url!.split('?')[0]!);
    const json = (value: unknown, status = 200) =>
      void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
    if (gated && request.headers.authorization !== 'Bearer hf_good')
      return json({ error: `Access to model ${id} is restricted.` }, 401);
    const file = path.split(`/${id}/resolve/${commit}/`)[1];
    if (path === `/api/models/${id}/revision/main` || path === `/api/models/${id}/revision/v1/rc`) {
      json({ _id: '1', id, sha: commit, private: false, downloads: 0, likes: 0, gated, lastModified: 0 });
    } else if (path === `/api/models/${id}/tree/${commit}`) {
      json([{ type: 'directory', path: 'onnx', size: 0, oid: '0' }, ...readdirSync(directory).map(entry)]);
    } else if (path === `/api/models/${id}/paths-info/${commit}`) {
      const { paths } = JSON.parse(await bodyOf(request)) as { paths: string[] };
      json(paths.map(entry));
    } else if (file) {
      const bytes = readFileSync(join(directory, file));
      const probe = request.headers.range === 'bytes=0-0';
      if (!probe) sent.push(file);
      const headers = { etag: `"${sha1(bytes)}"`, 'content-range': `bytes 0-0/${bytes.length}` };
      response.writeHead(probe ? 206 : 200, headers).end(probe ? bytes.subarray(0, 1) : bytes);
    } else json({ error: 'Repository not found' }, 404);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const close = (): void => void server.close();
  return { url: `http://127.0.0.1:${port}`, commit, sent, keys, close };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of request) text += String(part);
  return text;
}
