import { Command } from 'commander';
import { type CommonOptions, logger, print, withCommonOptions } from '../common.js';

/** `minillm setup`: provisions the native engine. */
export function setupCommand(): Command {
  return withCommonOptions(new Command('setup'))
    .description('set up the native engine: the official download, else TensorFlow from its Python wheel')
    .option(
      '--from <source>',
      'official, wheel, or the path of a wheel or of a folder with the libraries and include/ (with --gpu: wheel, or a folder with libnvrtc and libcublasLt)',
    )
    .option('--gpu', 'the CUDA engine instead, for an NVIDIA card: its libraries are found or fetched')
    .option('--json', 'one JSON object on standard output')
    .addHelpText('after', '\nExample:\n  minillm setup\n  minillm setup --gpu')
    .action(async (options: CommonOptions & { from?: string; gpu?: boolean; json?: boolean }) => {
      if (options.gpu) return setupGpu(options);
      const { setupEngine } = await import('../../tensor/provision/setup.js');
      const { changed, engine, seconds } = await setupEngine({ ...options, say: logger(options) });
      if (options.json) print(JSON.stringify({ changed, ...engine, seconds: Number(seconds.toFixed(3)) }));
      else
        print(
          `${engine.detail}: ${changed ? `ready after ${seconds.toFixed(1)} s` : 'ready already, nothing to do'}`,
        );
    });
}

async function setupGpu(options: CommonOptions & { from?: string; json?: boolean }): Promise<void> {
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
