import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Refusal } from './serverRequests.js';

/** Bytes and time of a refused body that is still read, so that a client which writes first hears the answer. */
const UNHEARD = { bytes: 1 << 21, milliseconds: 1000 };

/** Says why, whether or not the client still sends. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  { status, message }: Refusal,
): void {
  if (status === 429 || status === 503) response.setHeader('retry-after', '1');
  if (status === 401) response.setHeader('www-authenticate', 'Bearer');
  const error = { error: { message, type: 'invalid_request_error', code: status } };
  if (request.complete) {
    sendJson(response, status, error);
    return;
  }
  response.setHeader('connection', 'close');
  let unheard = 0;
  const end = (): void => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(end, UNHEARD.milliseconds);
  for (const over of ['end', 'close'] as const) request.once(over, end);
  request.on('data', (part: Buffer) => {
    unheard += part.length;
    if (unheard > UNHEARD.bytes) end();
  });
  request.resume();
  response.write(jsonBody(response, status, error));
}

export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.end(jsonBody(response, status, value));
}

/** Writes the head that belongs to the text that it gives. */
function jsonBody(response: ServerResponse, status: number, value: unknown): string {
  const text = `${JSON.stringify(value)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  return text;
}
