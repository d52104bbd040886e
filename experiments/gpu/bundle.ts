import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';

export const root = fileURLToPath(new URL('../../', import.meta.url));

/** Of an ES module: what CommonJS modules expect to find. */
const BANNER = `import { createRequire as createRequireOfBundle } from 'node:module';
import { fileURLToPath as pathOfBundle } from 'node:url';
const require = createRequireOfBundle(import.meta.url);
const __filename = pathOfBundle(import.meta.url);
const __dirname = pathOfBundle(new URL('.', import.meta.url));`;

/**
 * Writes the program and its checks as one file, with everything from node_modules in it. The file lies at the root of a pack, and each module finds
 * its files where they lie in a checkout, below that root.
 *
 * @param native a package of TensorFlow's native engine to take in, e.g. `@tensorflow/tfjs-node-gpu`; its library stays outside
 */
export async function bundle(target: string, native?: string): Promise<void> {
  await build({
    entryPoints: [join(root, 'experiments/gpu/main.ts')],
    outfile: target,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    logLevel: 'warning',
    banner: { js: BANNER },
    alias: { vitest: join(root, 'experiments/gpu/vitestInBundle.ts') },
    plugins: [ownModules(native), ...(native ? [nativePackage(native)] : [])],
  });
}

/** Our own modules: where they lie, and `require` as the bundler understands it. */
function ownModules(native: string | undefined): Plugin {
  return {
    name: 'own modules',
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const place = relative(root, path);
        if (!/^(src|test|experiments)\//.test(place)) return undefined;
        let text = readFileSync(path, 'utf8')
          .replace(/^const require = createRequire\(import\.meta\.url\);$/m, '')
          .replaceAll('import.meta.url', `new URL(${JSON.stringify(place)}, import.meta.url).href`);
        if (native && place === 'src/tensor/backend.ts')
          text = replaced(text, 'require(name);', `require('${native}');`);
        return { loader: 'ts', contents: text };
      });
    },
  };
}

/** The package asks node-pre-gyp for its addon, which looks beside its own files; in a pack it lies in node_modules. */
function nativePackage(native: string): Plugin {
  const find = `exports.find = () => require('node:path').join(__dirname, 'node_modules/${native}/lib/napi-v8/tfjs_binding.node');`;
  return {
    name: 'native package',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^@mapbox\/node-pre-gyp$/ }, () => ({ path: 'node-pre-gyp', namespace: 'pack' }));
      onLoad({ filter: /.*/, namespace: 'pack' }, () => ({ contents: find, loader: 'js' }));
    },
  };
}

function replaced(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2)
    throw new Error(`the bundle expects ${JSON.stringify(from)} once in the source`);
  return text.replace(from, to);
}
