import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../errors.js';
import { exists } from './files.js';
import { downloadSnapshot } from './hubDownload.js';

export interface HubOptions {
  /** Branch, tag or commit; default what stands after @ in the id, else `main`. */
  revision?: string;
  /** Default: see `hubCache`. */
  cacheDir?: string;
  /** False asks for a download of what is not there. Default true: nothing goes over the network unasked. */
  localFilesOnly?: boolean;
  /** Access token of the hub; default HF_TOKEN, else what `hf auth login` left. */
  token?: string;
  /** A line for every file that is downloaded. */
  log?: (line: string) => void;
}

/**
 * The directory of a model: a local directory of this name if there is one; else the snapshot of the revision in the cache
 * that `huggingface_hub` and `transformers` share (models--ORG--NAME/refs, snapshots); else, when asked for, a download
 * by `@huggingface/hub` into that cache. HF_HUB_OFFLINE=1 forbids the download.
 *
 * @param idOrDir a directory, NAME, ORG/NAME or ORG/NAME@REVISION
 * @throws UsageError when it is nowhere, saying where was looked and how to get it
 */
export async function resolveModel(idOrDir: string, options: HubOptions = {}): Promise<string> {
  if (await exists(idOrDir)) return idOrDir;
  const [id, after] = idOrDir.split(/@(.*)/s) as [string, string | undefined];
  if (!isHubId(id)) throw new UsageError(`${idOrDir}: no such model directory`);
  const { revision = after || 'main', cacheDir = hubCache(), localFilesOnly = true } = options;
  if (!/^[\w.\-/]+$/.test(revision) || revision.split('/').includes('..'))
    throw new UsageError(`revision ${JSON.stringify(revision)}: expected a branch, a tag or a commit`);
  const known = await cachedSnapshot(cacheDir, id, revision);
  // A download that was broken off leaves a snapshot without its weights.
  if (known !== undefined && (localFilesOnly || (await hasWeights(known)))) return known;
  const missing = `${id}: no such model directory, and no revision ${revision} of it in ${cacheDir}`;
  if (localFilesOnly) throw new UsageError(`${missing}; ask for a download (--download) or give a directory`);
  if (isOn(process.env.HF_HUB_OFFLINE) || isOn(process.env.TRANSFORMERS_OFFLINE))
    throw new UsageError(`${missing}; HF_HUB_OFFLINE forbids the download`);
  const token = options.token ?? (await savedToken());
  const { log = () => {} } = options;
  return downloadSnapshot({ id, revision, folder: folderOf(cacheDir, id), cacheDir, token, log });
}

/** NAME or ORG/NAME, of the characters that the hub allows. */
function isHubId(text: string): boolean {
  return /^[A-Za-z0-9][\w.-]*(\/[A-Za-z0-9][\w.-]*)?$/.test(text) && !text.includes('..');
}

/**
 * Where `huggingface_hub` keeps its cache: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else TRANSFORMERS_CACHE (of older
 * versions), else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
 */
export function hubCache(env: NodeJS.ProcessEnv = process.env): string {
  const named = env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || env.TRANSFORMERS_CACHE;
  return named ? withHome(named) : join(hubHome(env), 'hub');
}

function hubHome(env: NodeJS.ProcessEnv): string {
  return withHome(env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'));
}

function withHome(path: string): string {
  return path.replace(/^~(?=$|\/)/, homedir());
}

/** The token of the environment, or the one that `hf auth login` wrote into a file. */
async function savedToken(env: NodeJS.ProcessEnv = process.env): Promise<string | undefined> {
  const named = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN;
  if (named) return named.trim();
  const file = env.HF_TOKEN_PATH ? withHome(env.HF_TOKEN_PATH) : join(hubHome(env), 'token');
  const saved = await readFile(file, 'utf8').catch(() => '');
  return saved.trim() || undefined;
}

function folderOf(cacheDir: string, id: string): string {
  return join(cacheDir, `models--${id.replaceAll('/', '--')}`);
}

async function cachedSnapshot(cacheDir: string, id: string, revision: string): Promise<string | undefined> {
  const root = folderOf(cacheDir, id);
  const ref = await readFile(join(root, 'refs', ...revision.split('/')), 'utf8').catch(() => revision);
  const commit = ref.trim();
  // What stands in a file of the cache becomes part of a path.
  if (!/^[0-9a-f]{40}$/.test(commit)) return undefined;
  const directory = join(root, 'snapshots', commit);
  return (await exists(join(directory, 'config.json'))) ? directory : undefined;
}

async function hasWeights(directory: string): Promise<boolean> {
  if (await exists(join(directory, 'model.safetensors'))) return true;
  const index = await readFile(join(directory, 'model.safetensors.index.json'), 'utf8').catch(() => '');
  const shards = new Set(index.match(/model-\d+-of-\d+\.safetensors/g));
  const there = await Promise.all([...shards].map((shard) => exists(join(directory, shard))));
  return there.length > 0 && there.every(Boolean);
}

function isOn(value: string | undefined): boolean {
  return value !== undefined && ['1', 'true', 'yes', 'on'].includes(value.toLowerCase());
}
