import { dirname, join } from 'node:path';
import { makeDirectory, writeAtomically } from '../durable.js';
import { UsageError } from '../errors.js';

export interface SnapshotRequest {
  id: string;
  /** Branch, tag or commit. */
  revision: string;
  cacheDir: string;
  /** Of this model in the cache: refs, blobs and snapshots lie in it. */
  folder: string;
  token: string | undefined;
  log: (line: string) => void;
}

/** What a model directory consists of; the other formats of the same weights stay where they are. */
const wanted =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|model\.safetensors\.index)\.json$|^model(-\d+-of-\d+)?\.safetensors$|^(merges\.txt|tokenizer\.model|chat_template\.jinja)$/;

/**
 * Downloads the files of a model by `@huggingface/hub` into the cache that `huggingface_hub` shares, as snapshots/COMMIT of
 * its folder, and writes the ref. What is there already is not fetched again.
 *
 * @returns the snapshot's directory
 * @throws UsageError in one line when the package is absent or the download fails
 */
export async function downloadSnapshot(request: SnapshotRequest): Promise<string> {
  const { id, revision, cacheDir, folder, token, log } = request;
  const hub = (await import('@huggingface/hub' as string).catch(() => undefined)) as HubLibrary | undefined;
  if (!hub)
    throw new UsageError(
      `${id}: a download needs the package @huggingface/hub; npm install @huggingface/hub`,
    );
  const common = {
    ...(token && { accessToken: token }),
    ...(process.env.HF_ENDPOINT && { hubUrl: process.env.HF_ENDPOINT.replace(/\/+$/, '') }),
  };
  const { debug } = console;
  console.debug = () => {}; // The library says what it does on standard output, where only results belong.
  try {
    // The commit first: asked for a branch, the library puts every file under the commit that last changed that file.
    const { sha } = await hub.modelInfo({ ...common, name: id, revision, additionalFields: ['sha'] });
    if (!/^[0-9a-f]{40}$/.test(sha)) throw new Error(`the server names no commit for ${revision}`);
    let files = 0;
    for await (const { type, path, size } of hub.listFiles({ ...common, repo: id, revision: sha })) {
      if (type !== 'file' || !wanted.test(path)) continue;
      log(`${id}: ${path}, ${(size / 1e6).toFixed(1)} MB`);
      await hub.downloadFileToCacheDir({ ...common, repo: id, revision: sha, path, cacheDir });
      files++;
    }
    if (files === 0) throw new Error('it has none of the files of a model');
    if (revision !== sha) {
      const ref = join(folder, 'refs', ...revision.split('/'));
      makeDirectory(dirname(ref));
      await writeAtomically(ref, sha);
    }
    return join(folder, 'snapshots', sha);
  } catch (error) {
    const { message, statusCode } = error as Error & { statusCode?: number };
    const hint = statusCode === 401 || statusCode === 403 ? ' (private or gated? set HF_TOKEN)' : '';
    throw new UsageError(`${id}: download failed: ${message.split('\n')[0]!.slice(0, 300)}${hint}`);
  } finally {
    console.debug = debug;
  }
}

/** The part of @huggingface/hub that is used; the package is optional, so its own types may be absent. */
interface HubLibrary {
  modelInfo(options: Common & { name: string; additionalFields: 'sha'[] }): Promise<{ sha: string }>;
  listFiles(options: Common & { repo: string }): AsyncIterable<{ type: string; path: string; size: number }>;
  downloadFileToCacheDir(options: Common & { repo: string; path: string; cacheDir: string }): Promise<string>;
}

interface Common {
  revision: string;
  accessToken?: string;
  hubUrl?: string;
}
