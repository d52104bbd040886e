import type { Part } from '../part.js';
import { disk } from './disk.js';
import { files } from './files.js';
import { kill } from './kill.js';
import { locks } from './locks.js';
import { serve } from './serve.js';

/** All parts, in the order in which they run and are told. */
export const parts: Part[] = [files, disk, kill, locks, serve];
