import type { Part } from '../part.js';
import { disk } from './disk.js';
import { files } from './files.js';

/** All parts, in the order in which they run and are told. */
export const parts: Part[] = [files, disk];
