/** A place on a line, with its band. */
export interface LinePoint {
  x: number;
  mean: number;
  low: number;
  high: number;
}

export interface Line {
  label: string;
  color: string;
  points: readonly LinePoint[];
  /** Beyond the colours of the palette lines repeat them dashed; references are dashed too. */
  dashed?: boolean;
  /** Each point was worth measuring on its own. */
  dots?: boolean;
}
