import path from 'node:path';
import { Command } from 'commander';
import { type CommonOptions, logger, print, withCommonOptions } from '../common.js';

interface ReportOptions extends CommonOptions {
  out?: string;
  variance: string[];
  json?: boolean;
}

/** `minillm report RUN_DIR… --out report.html`: one self-contained page, and its figures as SVG and CSV. */
export function reportCommand(): Command {
  return withCommonOptions(
    new Command('report')
      .description('make one page of the runs: comparison, learning curves, samples, configuration')
      .argument('<runs...>', 'run directories; one that holds runs (a quickstart) stands for all of them')
      .option('--out <file>', 'the page (default: report.html in the run directory, with several here)')
      .option(
        '--variance <file>',
        'also show these estimators: of minillm variance --out or minillm oracle --json; may be repeated',
        (file: string, files: string[]) => [...files, file],
        [],
      )
      .option('--json', 'print what was written as JSON'),
  )
    .addHelpText(
      'after',
      '\nExample:\n  minillm report runs/sft runs/kd runs/minillm --out report.html\n\nThe figures lie as SVG and CSV in report-files/ beside the page.',
    )
    .action(async (runs: string[], options: ReportOptions) => {
      const { writeReport } = await import('../../report/report.js');
      const written = writeReport(
        runs,
        options.out ?? (runs.length === 1 ? path.join(runs[0]!, 'report.html') : 'report.html'),
        options.variance,
      );
      if (options.json) return print(JSON.stringify(written));
      const log = logger(options);
      for (const note of written.notes) log(`note: ${note}`);
      log(
        `${written.runs.length} model${written.runs.length === 1 ? '' : 's'}, ${written.files.length} files of figures and numbers`,
      );
      print(written.out);
    });
}
