import { createProgress, type Progress } from '../runs/progress.js';

/** Progress over one set of responses after another: a bar on a terminal, a line now and then elsewhere. */
export function responseProgress(quiet: boolean | undefined): {
  update(what: string, done: number, total: number): void;
  finish(): void;
} {
  let shown: { what: string; progress: Progress } | undefined;
  const finish = (): void => {
    shown?.progress.finish();
    shown = undefined;
  };
  return {
    update(what, done, total) {
      if (shown?.what !== what) {
        finish();
        shown = {
          what,
          progress: createProgress({ label: what, total, unit: 'response', quiet: quiet ?? false }),
        };
      }
      shown.progress.update(done);
    },
    finish,
  };
}
