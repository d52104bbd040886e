import type { EstimatorResult } from '../variance/results.js';

/** The rollouts that every estimator needs, as an SVG file. */
export async function varianceFigure(rows: readonly EstimatorResult[], snr: number): Promise<string> {
  const { intervalFigure } = await import('../report/intervalFigure.js');
  const { standaloneSvg } = await import('../report/figure.js');
  const figure = intervalFigure(
    rows.map(({ name, returns, rollouts_needed: { value, interval } }) => ({
      label: name,
      value,
      low: interval[0],
      high: interval[1],
      series: name.startsWith('preset/') ? 'presets' : returns,
    })),
    {
      name: 'variance',
      title: `Rollouts needed for a signal-to-noise ratio of ${snr}`,
      axis: 'rollouts, with 95 % intervals over repeats',
    },
  );
  return standaloneSvg(figure.svg);
}
