import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../errors.js';
import { loadModel } from './checkpoint.js';
import { exists } from './files.js';
import type { Model } from './model.js';

export interface HubOptions {
  /** Branch, tag or commit; default `main`. */
  revision?: string;
  /** Default: HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub. */
  cacheDir?: string;
  /** False asks for a download of what is not there. Default true: nothing goes over the network unasked. */
  localFilesOnly?: boolean;
  /** Access token of the hub; default HF_TOKEN. */
  token?: string;
}

/**
 * Loads a model by directory or by its id on the Hugging Face Hub, as `from_pretrained` does; see `resolveModel`.
 *
 * @throws UsageError in one line
 */
export async function fromPretrained(idOrDir: string, options: HubOptions = {}): Promise<Model> {
  return loadModel(await resolveModel(idOrDir, options));
}

/**
 * The directory of a model: a local directory of this name if there is one; else the snapshot of the revision in the cache
 * that `huggingface_hub` and `transformers` share (models--ORG--NAME/refs, snapshots); else, when asked for, a download
 * by `@huggingface/hub` into that cache. HF_HUB_OFFLINE=1 forbids the download.
 *
 * @throws UsageError when it is nowhere, saying where was looked and how to get it
 */
export async function resolveModel(idOrDir: string, options: HubOptions = {}): Promise<string> {
  const { revision = 'main', cacheDir = hubCache(), localFilesOnly = true } = options;
  if (await exists(idOrDir)) return idOrDir;
  if (!isHubId(idOrDir)) throw new UsageError(`${idOrDir}: no such model directory`);
  if (!/^[\w.\-/]+$/.test(revision) || revision.split('/').includes('..'))
    throw new UsageError(`revision ${JSON.stringify(revision)}: expected a branch, a tag or a commit`);
  const known = await cachedSnapshot(cacheDir, idOrDir, revision);
  if (known !== undefined) return known;
  const missing = `${idOrDir}: no such model directory, and no revision ${revision} of it in ${cacheDir}`;
  if (localFilesOnly) throw new UsageError(`${missing}; ask for a download (--download) or give a directory`);
  if (isOn(process.env.HF_HUB_OFFLINE))
    throw new UsageError(`${missing}; HF_HUB_OFFLINE forbids the download`);
  return download(idOrDir, { ...options, revision, cacheDir });
}

/** NAME or ORG/NAME, of the characters that the hub allows. */
function isHubId(text: string): boolean {
  return /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/.test(text) && !text.includes('..');
}

/** Where `huggingface_hub` keeps its cache, by the environment variables it reads. */
export function hubCache(env: NodeJS.ProcessEnv = process.env): string {
  if (env.HF_HUB_CACHE) return env.HF_HUB_CACHE;
  if (env.HUGGINGFACE_HUB_CACHE) return env.HUGGINGFACE_HUB_CACHE;
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface');
  return join(home, 'hub');
}

async function cachedSnapshot(cacheDir: string, id: string, revision: string): Promise<string | undefined> {
  const root = join(cacheDir, `models--${id.replaceAll('/', '--')}`);
  const ref = await readFile(join(root, 'refs', ...revision.split('/')), 'utf8').catch(() => revision);
  const commit = ref.trim();
  // What stands in a file of the cache becomes part of a path.
  if (!/^[0-9a-f]{40}$/.test(commit)) return undefined;
  const directory = join(root, 'snapshots', commit);
  return (await exists(join(directory, 'config.json'))) ? directory : undefined;
}

/** What a model directory consists of; the other formats of the same weights stay where they are. */
const wanted = /^[^/]+\.(json|safetensors|model|txt|jinja)$/;

async function download(
  id: string,
  { revision, cacheDir, token = process.env.HF_TOKEN }: HubOptions & { cacheDir: string },
): Promise<string> {
  const hub = (await import('@huggingface/hub' as string).catch(() => undefined)) as HubLibrary | undefined;
  if (!hub)
    throw new UsageError(
      `${id}: a download needs the package @huggingface/hub; npm install @huggingface/hub`,
    );
  const common = {
    repo: id,
    ...(revision !== undefined && { revision }),
    ...(token && { accessToken: token }),
    ...(process.env.HF_ENDPOINT && { hubUrl: process.env.HF_ENDPOINT }),
  };
  try {
    let directory: string | undefined;
    for await (const { type, path } of hub.listFiles(common)) {
      if (type !== 'file' || !wanted.test(path)) continue;
      const file = await hub.downloadFileToCacheDir({ ...common, path, cacheDir });
      if (path === 'config.json') directory = join(file, '..');
    }
    if (directory === undefined) throw new Error('it has no config.json');
    return directory;
  } catch (error) {
    throw new UsageError(`${id}: download failed: ${(error as Error).message.split('\n')[0]}`);
  }
}

/** The part of @huggingface/hub that is used; the package is optional, so its own types may be absent. */
interface HubLibrary {
  listFiles(options: { repo: string; revision?: string }): AsyncIterable<{ type: string; path: string }>;
  downloadFileToCacheDir(options: { repo: string; path: string; cacheDir: string }): Promise<string>;
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && ['1', 'true', 'yes', 'on'].includes(value.toLowerCase());
}
