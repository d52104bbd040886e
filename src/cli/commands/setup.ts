import { Command } from 'commander';
import { UsageError } from '../../errors.js';
import { type CommonOptions, logger, print, withCommonOptions } from '../common.js';

interface SetupOptions extends CommonOptions {
  from?: string;
  gpu?: boolean;
  mpi?: boolean;
  pack?: string;
  json?: boolean;
}

/** `minillm setup`: provisions the native engine. */
export function setupCommand(): Command {
  return withCommonOptions(new Command('setup'))
    .description('set up the native engine: the official download, else TensorFlow from its Python wheel')
    .option(
      '--from <source>',
      'official, wheel, or a path: an archive of --pack, a wheel, a folder with the libraries and include/ (with --gpu: wheel, or a folder with libnvrtc and libcublasLt)',
    )
    .option(
      '--pack <file>',
      'then write the engine as one archive (.tar.gz), for --from on a machine without a network',
    )
    .option('--gpu', 'the CUDA engine instead, for an NVIDIA card: its libraries are found or fetched')
    .option('--mpi', 'support for MPI instead (mpirun, srun): built with the mpicxx on the PATH, or $MPICXX')
    .option('--json', 'one JSON object on standard output')
    .addHelpText(
      'after',
      '\nExample:\n  minillm setup\n  minillm setup --gpu\n  minillm setup --mpi\n  minillm setup --pack engine.tar.gz',
    )
    .action(async (options: SetupOptions) => {
      if (options.mpi) return setupForMpi(options);
      if (options.gpu && options.pack)
        throw new UsageError('--pack writes the engine of the processor; leave out --gpu');
      if (options.gpu) return setupGpu(options);
      const { packReady, setupEngine } = await import('../../tensor/provision/setup.js');
      const { changed, engine, seconds } = await setupEngine({ ...options, say: logger(options) });
      if (options.pack) await packReady(options.pack, engine);
      const packed = options.pack && { packed: options.pack };
      if (options.json)
        print(JSON.stringify({ changed, ...engine, seconds: Number(seconds.toFixed(3)), ...packed }));
      else
        print(
          `${engine.detail}: ${changed ? `ready after ${seconds.toFixed(1)} s` : 'ready already, nothing to do'}${options.pack ? `; packed as ${options.pack}` : ''}`,
        );
    });
}

async function setupGpu(options: SetupOptions): Promise<void> {
  const { cudaSetup } = await import('../../tensor/backend.js');
  const { setupCuda } = await cudaSetup();
  const { changed, seconds, ...made } = await setupCuda({ from: options.from, say: logger(options) });
  if (options.json) {
    print(JSON.stringify({ changed, ...made, seconds: Number(seconds.toFixed(3)) }));
    return;
  }
  const when = changed ? `ready after ${seconds.toFixed(1)} s` : 'ready already, nothing to do';
  print(
    made.tried
      ? `CUDA engine: ${when}; tried on ${made.tried}. It is the first choice now`
      : `CUDA engine: ${when}. No card was tried here (${made.no_card}); where the driver lists a card it is the first choice`,
  );
}

async function setupForMpi(options: SetupOptions): Promise<void> {
  const other = (['from', 'gpu', 'pack'] as const).find((name) => options[name]);
  if (other) throw new UsageError(`--${other} is of another set-up; leave it out, or --mpi`);
  const { setupMpi } = await import('../../cluster/setupMpi.js');
  const { changed, seconds, addon, library, mpicxx } = await setupMpi({ say: logger(options) });
  if (options.json) {
    print(JSON.stringify({ changed, addon, library, mpicxx, seconds: Number(seconds.toFixed(3)) }));
    return;
  }
  const when = changed ? `ready after ${seconds.toFixed(1)} s` : 'ready already, nothing to do';
  print(`MPI: ${when}; built for ${library} with ${mpicxx}`);
}
